"""Asks all nodes from the admin's views, which are synchronous."""

from typing import Any

from asgiref.sync import async_to_sync

from echo import feed


def ask(question: Any) -> dict[str, Any]:
    """All nodes' answer, on the event loop that the server runs on."""
    answer: dict[str, Any] = async_to_sync(feed.ask)(question)
    return answer
