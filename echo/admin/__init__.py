"""The operators' side of the feed: one module for each of the things they see."""

from echo.admin import actions, connections, events, nodes, tokens, topics

__all__ = ["actions", "connections", "events", "nodes", "tokens", "topics"]
