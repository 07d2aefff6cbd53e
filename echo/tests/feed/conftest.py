"""A log for each test, and relays that move only when the test moves them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from echo.feed import Relay
from echo.feed.relay import read_head


@pytest.fixture
async def relay(transactional_db: None) -> AsyncIterator[Relay]:
    """A relay at the log's head whose jobs are not started: no clock, no doorbell."""
    relay = Relay()
    relay.head = await read_head()
    yield relay
    for subscription in list(relay.subscriptions.values()):
        subscription.close()


class Wire:
    """A channel layer that carries each message to all relays, as bytes, as Redis would."""

    def __init__(self, *relays: Relay) -> None:
        self.relays = list(relays)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for relay in self.relays:
            relay.nodes.hear(json.loads(json.dumps(message)))


@pytest.fixture
async def nodes(transactional_db: None) -> AsyncIterator[tuple[Relay, Relay]]:
    """Two nodes that have heard each other's pulse."""
    relays = Relay(), Relay()
    wire: Any = Wire(*relays)
    for relay in relays:
        relay.head = await read_head()
        relay.nodes.layer, relay.nodes.carries = wire, True
    for relay in relays:
        await relay.nodes.send_pulse()
    yield relays
    for relay in relays:
        for subscription in list(relay.subscriptions.values()):
            subscription.close()
