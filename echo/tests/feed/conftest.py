"""A log for each test, and a relay that moves only when the test moves it."""

from collections.abc import AsyncIterator

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
