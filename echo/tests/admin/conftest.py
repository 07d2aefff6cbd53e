"""The relay that the admin asks when a test's own client visits it."""

from collections.abc import AsyncIterator

import pytest

from echo.feed import Relay, get_relay


@pytest.fixture
async def relay(transactional_db: None) -> AsyncIterator[Relay]:
    """This event loop's own relay, with its jobs at work."""
    relay = await get_relay()
    yield relay
    for subscription in list(relay.subscriptions.values()):
        subscription.close()
    await relay.stop()
