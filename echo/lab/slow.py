"""A slow network for the race: delays what an application receives and sends.

Wraps an ASGI application, HTTP or WebSocket. Order never changes, and delays overlap: each
message takes DELAY_SECONDS, and its bytes pass one after another at BYTES_PER_SECOND.
"""

import asyncio
from typing import Any

from echo.protocol import WRITE_EXTENSION

DELAY_SECONDS = 0.25  # each way
BYTES_PER_SECOND = 16 * 1024
# Messages under way; an application that sends more waits.
MAX_UNDER_WAY = 64


class SlowSend:
    """An ASGI ``send`` whose messages arrive late; ``deliver`` is its other end."""

    def __init__(self, send: Any) -> None:
        self.send = send  # the server's
        # Messages, and when each has arrived.
        self.under_way: asyncio.Queue[tuple[float, Any]] = asyncio.Queue(MAX_UNDER_WAY)
        self.free_at = 0.0  # when the last message has left

    async def __call__(self, message: Any) -> None:
        """Send a message; wait while too many are under way."""
        now = asyncio.get_running_loop().time()
        self.free_at = max(now, self.free_at) + size_of(message) / BYTES_PER_SECOND
        await self.under_way.put((self.free_at + DELAY_SECONDS, message))

    async def deliver(self) -> None:
        """Hand each message to the server when it has arrived; without end."""
        loop = asyncio.get_running_loop()
        while True:
            arrives_at, message = await self.under_way.get()
            await asyncio.sleep(arrives_at - loop.time())
            try:
                await self.send(message)
            finally:
                self.under_way.task_done()


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
