"""This process's relays, one for each event loop that serves."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from echo.feed.event import Event

if TYPE_CHECKING:
    from echo.feed.relay import Relay

relays: WeakKeyDictionary[asyncio.AbstractEventLoop, "Relay"] = WeakKeyDictionary()
registry = threading.Lock()


def present() -> list[tuple[asyncio.AbstractEventLoop, "Relay"]]:
    """The relays whose event loop has not been closed."""
    with registry:
        return [pair for pair in relays.items() if not pair[0].is_closed()]


def take_everywhere(events: list[Event], committed_at: float) -> None:
    """Hands events that this process has committed to its own relays, from any thread."""
    everywhere(lambda relay: relay.take(events, committed_at))


def everywhere(function: Callable[["Relay"], None]) -> None:
    """Runs a function with each of this process's relays, soon, from any thread."""
    for loop, relay in present():
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(function, relay)
