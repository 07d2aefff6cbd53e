"""The echo that misbehaves as its knobs ask: late, silent, closing, dropping, judging.

A reader judges what arrives and a writer sends what is due, so that delays overlap and a
slow reply never holds back the next one's clock. Knows no server and no handshake.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from echo.knobs import Knobs
from echo.messages import Ending, log_received, size_in_bytes, too_big
from echo.protocol import CloseCode

MAX_WAITING_MESSAGES = 256
MAX_WAITING_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """One message's echo and when it is due, in the event loop's seconds."""

    due: float
    size: int
    event: dict[str, Any] | None  # None for a message that is to stay unanswered


class WaitingReplies:
    """Replies in the order of their messages, bounded in number and in bytes.

    A reply waits here until it has been sent, so the bound counts the one being sent too.
    """

    def __init__(self) -> None:
        self._replies: deque[Reply] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()

    async def put(self, reply: Reply) -> None:
        """Adds a reply; waits while there is no room, which holds the reader back."""
        while self._is_full_for(reply):
            await self._change()
        self._replies.append(reply)
        self._bytes += reply.size
        self._changed.set()

    async def first(self) -> Reply:
        """The oldest reply, which stays until ``discard_first``."""
        while not self._replies:
            await self._change()
        return self._replies[0]

    async def sent(self) -> None:
        """Waits until none is left."""
        while self._replies:
            await self._change()

    def discard_first(self) -> None:
        """Makes room."""
        self._bytes -= self._replies.popleft().size
        self._changed.set()

    def _is_full_for(self, reply: Reply) -> bool:
        # One message alone is always let in, even one that is over the bound by itself.
        return bool(self._replies) and (
            len(self._replies) >= MAX_WAITING_MESSAGES
            or self._bytes + reply.size > MAX_WAITING_BYTES
        )

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class Misbehaviour:
    """One conversation under knobs, from the open connection to its ending."""

    def __init__(
        self,
        knobs: Knobs,
        chance: random.Random,
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self.knobs = knobs
        self.chance = chance
        self.receive = receive
        self.send = send
        self.clock = asyncio.get_running_loop().time
        self.replies = WaitingReplies()
        self.arrivals: deque[float] = deque(maxlen=knobs.rate)

    async def run(self) -> Ending | None:
        """The close code and reason to end with; None to end without a close frame."""
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

    async def read(self, writing: asyncio.Task[Ending | None]) -> Ending | None:
        """Judges each message and queues its reply, until the client or a verdict ends it."""
        count = 0
        while count != self.knobs.drop_after:
            event = await self.receive()
            if event["type"] != "websocket.receive":
                return None
            count += 1
            text = event.get("text")
            payload = event["bytes"] if text is None else text
            log_received(payload)
            if (
                verdict := too_big(payload, self.knobs.max_message_size)
                or self.too_fast()
            ):
                return verdict
            await self.replies.put(self.reply(count, payload))
            if not self.knobs.delay:  # due at once: a close must not overtake it
                await self.replies.sent()
        return await writing  # what is due goes out before the connection is cut

    async def write(self) -> Ending | None:
        """Sends each reply when it is due, until the ending that the knobs ask for."""
        closing = self.knobs.close_code or 1000, self.knobs.close_reason or ""
        count = 0
        try:
            async with asyncio.timeout(None) as patience:
                while count != self.knobs.drop_after:
                    if count == self.knobs.close_after:
                        if not self.knobs.close_delay:
                            return closing
                        patience.reschedule(self.clock() + self.knobs.close_delay)
                    await self.send_first()
                    count += 1
        except TimeoutError:
            return closing
        return None

    async def send_first(self) -> None:
        """Waits for the oldest reply to be due, and sends it."""
        reply = await self.replies.first()
        if (wait := reply.due - self.clock()) > 0:
            await asyncio.sleep(wait)
        if reply.event is not None:
            await self.send(reply.event)
        self.replies.discard_first()

    def reply(self, count: int, payload: str | bytes) -> Reply:
        """The echo of the message with this number, due after the delay and its jitter."""
        knobs = self.knobs
        delay = knobs.delay * (1 + knobs.jitter * self.chance.uniform(-1, 1))
        muted = knobs.mute_after is not None and count > knobs.mute_after
        key = "text" if isinstance(payload, str) else "bytes"
        return Reply(
            due=self.clock() + delay,
            size=size_in_bytes(payload),
            event=None if muted else {"type": "websocket.send", key: payload},
        )

    def too_fast(self) -> Ending | None:
        """The 1008 that comes when more than ``rate`` messages arrive within a second."""
        rate, now = self.knobs.rate, self.clock()
        if rate is None:
            return None
        if len(self.arrivals) == rate and now - self.arrivals[0] < 1:
            return CloseCode.POLICY_VIOLATION, f"more than {rate} messages in a second"
        self.arrivals.append(now)
        return None
