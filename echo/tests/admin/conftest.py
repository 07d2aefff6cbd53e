"""The node that the admin asks when a test's own client visits it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from echo.feed import Survey, get_node
from echo.feed.node import Node


@pytest.fixture
async def node(transactional_db: None) -> AsyncIterator[Node]:
    """This event loop's own node, with its jobs at work."""
    node = await get_node()
    yield node
    for subscription in list(node.hub.subscriptions.values()):
        subscription.close()
    await node.stop()


@pytest.fixture
def mishear(node: Node, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives all further answers a gap: ``mishear(unresponsive=["b"])``; none: ``mishear()``."""
    ask = node.cluster.surveys.ask

    def mishear(**gap: Any) -> None:
        async def ask_some(question: Any) -> Survey[Any]:
            return replace(await ask(question), **gap)

        monkeypatch.setattr(node.cluster.surveys, "ask", ask_some)

    return mishear
