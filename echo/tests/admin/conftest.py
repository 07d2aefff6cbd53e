"""The relay that the admin asks when a test's own client visits it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

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


@pytest.fixture
def mishear(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives all further answers a gap: ``mishear(silent=["b"])``; none: ``mishear()``."""
    ask = relay.nodes.ask

    def mishear(**gap: Any) -> None:
        async def ask_some(question: Any) -> dict[str, Any]:
            return await ask(question) | gap

        monkeypatch.setattr(relay.nodes, "ask", ask_some)

    return mishear
