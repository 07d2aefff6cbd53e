"""Drains the hub before the server acts on a signal; knows no server by name.

uvicorn closes every socket the moment it stops, and waits for streams that would go on for
ever; Daphne cuts them. Either is too late for a ``bye``. So the signal is handled here
first, and the server's own handler runs when the hub has been drained.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Drain = Callable[[], Awaitable[None]]


def before_shutdown(drain: Drain) -> None:
    """Run the coroutine function in this event loop before a signal's handler runs.

    Only where a server has put a handler: without one this process is a test or a command.
    A second signal goes straight to the server.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # Python sets signal handlers in the main thread only
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            signal.signal(number, wrap_signal_handler(handler, drain, loop))


def wrap_signal_handler(
    handler: Callable[[int, FrameType | None], Any],
    drain: Drain,
    loop: asyncio.AbstractEventLoop,
) -> Callable[[int, FrameType | None], None]:
    """Return a signal handler that drains first, and then calls the server's."""
    is_draining = False

    async def drain_and_handle(number: int, frame: FrameType | None) -> None:
        try:
            await drain()
        finally:
            handler(number, frame)

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal is_draining
        if is_draining or loop.is_closed():
            handler(number, frame)
            return
        is_draining = True
        asyncio.run_coroutine_threadsafe(drain_and_handle(number, frame), loop)

    return handle
