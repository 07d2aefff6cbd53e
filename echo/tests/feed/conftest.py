"""A log for each test, and nodes that move only when the test moves them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from echo.feed.node import Node
from echo.feed.relay import read_head


@pytest.fixture
async def node(transactional_db: None) -> AsyncIterator[Node]:
    """A node at the log's head whose jobs are not started: no clock, no doorbell."""
    node = Node()
    node.history.head = await read_head()
    yield node
    for subscription in list(node.hub.subscriptions.values()):
        subscription.close()


class Wire:
    """A channel layer that carries each message to all nodes, as bytes, as Redis would."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = list(nodes)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for node in self.nodes:
            node.cluster.dispatch(json.loads(json.dumps(message)))


@pytest.fixture
async def nodes(transactional_db: None) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes that have heard each other's pulse."""
    both = Node(), Node()
    wire: Any = Wire(*both)
    for node in both:
        node.history.head = await read_head()
        node.cluster.channel.layer, node.cluster.channel.reaches_others = wire, True
    for node in both:
        await node.cluster.send_pulse()
    yield both
    for node in both:
        for subscription in list(node.hub.subscriptions.values()):
            subscription.close()
