"""Another node, and the ways in which it may be missing from a survey."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from echo.feed.node import Node
from echo.tests.feed.conftest import Wire


@pytest.fixture
async def other(node: Node) -> AsyncIterator[Node]:
    """Another node, which has exchanged a pulse with this one."""
    other = Node()
    other.history.head = node.history.head
    wire: Any = Wire(node, other)
    for each in (node, other):
        each.cluster.channel.layer, each.cluster.channel.reaches_others = wire, True
    for each in (node, other):
        await each.cluster.send_pulse()
    yield other
    for subscription in list(other.hub.subscriptions.values()):
        subscription.close()


@pytest.fixture
def silent(other: Node, node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    """The other node, which does not answer in time."""
    monkeypatch.setattr("echo.feed.cluster.survey.ANSWER_SECONDS", 0.05)
    wire: Any = node.cluster.channel.layer
    wire.nodes.remove(other)
    return other


@pytest.fixture
def down(other: Node, node: Node) -> None:
    """Take the channel layer down, so that the other node is not asked."""
    node.cluster.channel.is_up = False
