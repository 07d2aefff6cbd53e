"""The echo under knobs: late or no replies, a close, a cut, limits on size and rate.

A reader task checks each message and queues its reply; a writer task sends replies when
they are due. So delays overlap: a slow reply does not delay the next one's due time. Knows
no server and no handshake.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from echo.knobs import Knobs
from echo.messages import CloseFrame, log_received, size_in_bytes, size_violation
from echo.protocol import CloseCode

MAX_WAITING_MESSAGES = 256
MAX_WAITING_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """The echo of one message, and when it is due."""

    due: float  # in the event loop's time
    size: int  # in bytes
    event: dict[str, Any] | None  # what to send; None for a muted message


class ReplyQueue:
    """Replies in the order of their messages, bounded in number and in bytes.

    A reply stays in the queue until it has been sent, so the bound includes the one that is
    being sent.
    """

    def __init__(self) -> None:
        self._replies: deque[Reply] = deque()  # the oldest first
        self._bytes = 0  # the sum of their sizes
        self._changed = asyncio.Event()  # set by every change, cleared by a waiter

    async def put(self, reply: Reply) -> None:
        """Add a reply; wait for room, which stops the reading."""
        while self._is_full_for(reply):
            await self._change()
        self._replies.append(reply)
        self._bytes += reply.size
        self._changed.set()

    async def first(self) -> Reply:
        """Return the oldest reply, and leave it in the queue; wait for one."""
        while not self._replies:
            await self._change()
        return self._replies[0]

    async def wait_empty(self) -> None:
        """Wait until every reply has been sent."""
        while self._replies:
            await self._change()

    def discard_first(self) -> None:
        """Remove the oldest reply."""
        self._bytes -= self._replies.popleft().size
        self._changed.set()

    def _is_full_for(self, reply: Reply) -> bool:
        # An empty queue takes any message, even one over the bound by itself.
        return bool(self._replies) and (
            len(self._replies) >= MAX_WAITING_MESSAGES
            or self._bytes + reply.size > MAX_WAITING_BYTES
        )

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class Misbehaviour:
    """One connection under knobs, from the accepted handshake to the end."""

    def __init__(
        self,
        knobs: Knobs,
        random: Random,
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        # What the client asked for.
        self.knobs = knobs
        self.random = random  # decides the jitter
        self.receive = receive  # ASGI's
        self.send = send  # ASGI's
        self.clock = asyncio.get_running_loop().time  # in seconds, monotonic
        self.replies = ReplyQueue()  # filled by the reader, emptied by the writer
        # When the latest `rate` messages arrived.
        self.arrivals: deque[float] = deque(maxlen=knobs.rate)

    async def run(self) -> CloseFrame | None:
        """Echo until the end; return the close frame to send, or None for no close frame."""
        writing = asyncio.create_task(self.write(), name="echo writer")
        reading = asyncio.create_task(self.read(writing), name="echo reader")
        try:
            ended, _ = await asyncio.wait(
                (reading, writing), return_when=asyncio.FIRST_COMPLETED
            )
            return ended.pop().result()
        finally:
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def read(self, writing: asyncio.Task[CloseFrame | None]) -> CloseFrame | None:
        """Check each message and queue its reply, until the client or a check ends it."""
        count = 0
        while count != self.knobs.drop_after:
            event = await self.receive()
            if event["type"] != "websocket.receive":
                return None
            count += 1
            text = event.get("text")
            payload = event["bytes"] if text is None else text
            log_received(payload)
            if violation := self.violation(payload):
                return violation
            await self.replies.put(self.reply(count, payload))
            if not self.knobs.delay:
                # The reply is due now: a disconnect that is read next must not cancel it.
                await self.replies.wait_empty()
        # After the last message before `drop_after`, the writer sends the replies due.
        return await writing

    async def write(self) -> CloseFrame | None:
        """Send each reply when it is due, until the close or cut that the knobs ask for."""
        closing = self.knobs.close_code or 1000, self.knobs.close_reason or ""
        count = 0
        try:
            async with asyncio.timeout(None) as timeout:
                while count != self.knobs.drop_after:
                    if count == self.knobs.close_after:
                        if not self.knobs.close_delay:
                            return closing
                        # Replies go on during the delay.
                        timeout.reschedule(self.clock() + self.knobs.close_delay)
                    await self.send_first()
                    count += 1
        except TimeoutError:
            return closing
        return None

    async def send_first(self) -> None:
        """Wait until the oldest reply is due, and send it."""
        reply = await self.replies.first()
        if (wait := reply.due - self.clock()) > 0:
            await asyncio.sleep(wait)
        if reply.event is not None:
            await self.send(reply.event)
        self.replies.discard_first()

    def reply(self, count: int, payload: str | bytes) -> Reply:
        """Return the reply to the message with this number, due after delay and jitter."""
        knobs = self.knobs
        delay = knobs.delay * (1 + knobs.jitter * self.random.uniform(-1, 1))
        muted = knobs.mute_after is not None and count > knobs.mute_after
        key = "text" if isinstance(payload, str) else "bytes"
        return Reply(
            due=self.clock() + delay,
            size=size_in_bytes(payload),
            event=None if muted else {"type": "websocket.send", key: payload},
        )

    def violation(self, payload: str | bytes) -> CloseFrame | None:
        """Return the close frame for a message over a limit, or None."""
        limit = self.knobs.max_message_size
        return size_violation(payload, limit) or self.rate_violation()

    def rate_violation(self) -> CloseFrame | None:
        """Return the 1008 if more than ``rate`` messages arrived within a second."""
        rate, now = self.knobs.rate, self.clock()
        if rate is None:
            return None
        if len(self.arrivals) == rate and now - self.arrivals[0] < 1:
            return CloseCode.POLICY_VIOLATION, f"more than {rate} messages in a second"
        self.arrivals.append(now)
        return None
