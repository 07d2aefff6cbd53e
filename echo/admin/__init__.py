"""The operators' side of the feed: one module for each of the things they see."""

from echo.admin import connections, events, nodes, tokens, topics

__all__ = ["connections", "events", "nodes", "tokens", "topics"]
