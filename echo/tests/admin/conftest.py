"""The node that answers the admin's surveys in tests with Django's own client."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from echo.feed import get_node
from echo.feed.cluster import Survey
from echo.feed.node import Node


@pytest.fixture
async def node(transactional_db: None) -> AsyncIterator[Node]:
    """The node of this event loop, with its tasks running."""
    node = await get_node()
    yield node
    for subscription in list(node.hub.subscriptions.values()):
        subscription.close()
    await node.stop()


@pytest.fixture
def degrade(node: Node, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make all further surveys incomplete: ``degrade(unresponsive=["b"])``; ``degrade()`` resets."""
    ask = node.cluster.surveys.ask

    def degrade(**gap: Any) -> None:
        async def ask_some(question: Any) -> Survey[Any]:
            return replace(await ask(question), **gap)

        monkeypatch.setattr(node.cluster.surveys, "ask", ask_some)

    return degrade
