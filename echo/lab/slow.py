"""A slow network for the race: delays what an application receives and sends.

Wraps an ASGI application, HTTP or WebSocket. Order never changes, and delays overlap: each
message takes DELAY_SECONDS, and its bytes pass one after another at BYTES_PER_SECOND.
"""

import asyncio
from typing import Any

from echo.protocol import WRITE_EXTENSION

DELAY_SECONDS = 0.25  # each way
BYTES_PER_SECOND = 16 * 1024
# Messages and bytes under way; an application that sends more waits. A page of history is one
# message: many of them, for each of many connections, would be a lot of memory.
MAX_UNDER_WAY = 64
MAX_BYTES_UNDER_WAY = 64 * 1024


class SlowSend:
    """An ASGI ``send`` whose messages arrive late; ``deliver`` is its other end."""

    def __init__(self, send: Any) -> None:
        self.send = send  # the server's
        # Messages, and when each has arrived.
        self.under_way: asyncio.Queue[tuple[float, Any]] = asyncio.Queue()
        self.bytes_under_way = 0  # with those of the message that is delivered now
        self.has_room = asyncio.Event()  # set while more may be under way
        self.has_room.set()
        self.has_ended = False  # nothing more is delivered
        self.free_at = 0.0  # when the last message has left

    async def __call__(self, message: Any) -> None:
        """Send a message; wait while too much is under way. No-op if the client has gone."""
        await self.has_room.wait()
        if self.has_ended:
            return
        now = asyncio.get_running_loop().time()
        self.free_at = max(now, self.free_at) + size_of(message) / BYTES_PER_SECOND
        self.under_way.put_nowait((self.free_at + DELAY_SECONDS, message))
        self.count(size_of(message))

    async def deliver(self) -> None:
        """Hand each message to the server when it has arrived, until the client has gone."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                arrives_at, message = await self.under_way.get()
                await asyncio.sleep(arrives_at - loop.time())
                try:
                    await self.send(message)
                finally:
                    self.under_way.task_done()
                self.count(-size_of(message))
        finally:
            self.has_ended = True
            self.has_room.set()  # an application that waits would wait for ever

    def count(self, size: int) -> None:
        """Add so many bytes to those under way; let the application wait at a bound."""
        self.bytes_under_way += size
        if (
            self.bytes_under_way < MAX_BYTES_UNDER_WAY
            and self.under_way.qsize() < MAX_UNDER_WAY
        ):
            self.has_room.set()
        else:
            self.has_room.clear()


def slow(application: Any) -> Any:
    """Return the application behind a slow network."""

    async def slowed(scope: Any, receive: Any, send: Any) -> None:
        async def receive_late() -> Any:
            message = await receive()
            await asyncio.sleep(DELAY_SECONDS)
            return message

        # It would write past the delay.
        extensions = dict(scope.get("extensions") or {})
        extensions.pop(WRITE_EXTENSION, None)
        slow_send = SlowSend(send)
        delivering = asyncio.create_task(slow_send.deliver(), name="slow network")
        try:
            await application(
                scope | {"extensions": extensions}, receive_late, slow_send
            )
            arriving = asyncio.create_task(slow_send.under_way.join(), name="arriving")
            # A delivery fails when the client has gone; then nothing more arrives.
            await asyncio.wait(
                (arriving, delivering), return_when=asyncio.FIRST_COMPLETED
            )
            arriving.cancel()
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    return slowed


def size_of(message: Any) -> int:
    """Return how many bytes of payload a message has; heads and framing are neglected."""
    return len(message.get("body") or message.get("bytes") or message.get("text") or "")
