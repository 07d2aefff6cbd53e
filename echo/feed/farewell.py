"""Lets readers say goodbye before the server acts on a signal; knows no server by name.

uvicorn closes every socket the moment it stops, and waits for streams that would go on for
ever; Daphne cuts them. Either is too late for a ``bye``. So the signal is taken first,
readers are told, and then the server's own handler gets it.
"""

import asyncio
import random
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
RECONNECTS_A_SECOND = 500
MAX_SPREAD_SECONDS = 20.0
# When one is told to come back who is not to: an EventSource of somebody else's knows no
# close code.
DAY_SECONDS = 24 * 60 * 60.0


def return_seconds(count: int) -> float:
    """When one of so many clients is told to come back: each at a time of its own."""
    spread = min(MAX_SPREAD_SECONDS, 0.5 + count / RECONNECTS_A_SECOND)
    return random.uniform(0.1, spread)


def before_shutdown(farewell: Callable[[], Awaitable[None]]) -> None:
    """Runs the coroutine in this event loop before a signal's handler runs.

    Only handlers that a server has put there are waited for: without one this process is
    a test or a command. A second signal goes straight to the server.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        served = signal.getsignal(number)
        if callable(served) and served is not signal.default_int_handler:
            signal.signal(number, polite(served, farewell, loop))


def polite(
    served: Callable[[int, FrameType | None], Any],
    farewell: Callable[[], Awaitable[None]],
    loop: asyncio.AbstractEventLoop,
) -> Callable[[int, FrameType | None], None]:
    """A signal handler that says farewell, and then does what the server's would."""
    told = False

    async def part(number: int, frame: FrameType | None) -> None:
        try:
            await farewell()
        finally:
            served(number, frame)

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if told or loop.is_closed():
            served(number, frame)
            return
        told = True
        asyncio.run_coroutine_threadsafe(part(number, frame), loop)

    return handle
