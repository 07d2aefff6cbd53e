"""The Django admin: one package or module for each kind of object that it shows."""

from echo.admin import connections, events, log_entries, nodes, tokens, topics

__all__ = ["connections", "events", "log_entries", "nodes", "tokens", "topics"]
