"""Checks a connection's bytes before the server's HTTP parser, on both servers.

Forwards requests one at a time, each with a whole and checked head, and bounds the time that
a head and a body may take. Knows the event loop and GuardedConnection, and no server.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from django.conf import settings

from echo.servers.heads import MAX_HEAD_BYTES, Head, Refusal, RequestReader

# How long the server reads on after a refusal: closing at once would answer further bytes
# with a TCP reset, which can overtake the reason.
LINGER_SECONDS = 2.0

logger = logging.getLogger(__name__)


class GuardedConnection(Protocol):
    """The methods of a server's connection that the guard calls."""

    def parse(self, data: bytes) -> None:
        """Give the bytes to the server's own parser."""

    def upgrade(self, head: Head, early: bytes) -> None:
        """Become a WebSocket whose handshake is the head, and drop the guard.

        ``early`` is what came after the head: the first frames.
        """

    def answer_has_begun(self) -> bool:
        """Return True if the response to the current request has been started."""

    def end(self, response: bytes) -> None:
        """Write the response, close for writing, and drop what the application sends."""

    def close(self) -> None:
        """Close the connection once all written bytes have been sent."""

    def cut(self) -> None:
        """Close the connection both ways at once."""

    def pause(self) -> None:
        """Stop reading until the server has answered."""

    def peer(self) -> str:
        """Return the client's address for the log."""


class Guard:
    """Guards one connection, from its first byte until it becomes a WebSocket or ends."""

    def __init__(self, connection: GuardedConnection, *untrusted: bytes) -> None:
        # The connection that is guarded.
        self.connection = connection
        # Holds the bytes that have not been forwarded.
        self.reader = RequestReader(
            max_body_bytes=settings.MAX_BODY_BYTES, untrusted=untrusted
        )
        self.requests = 0  # heads forwarded so far
        self.answering = False  # a request has been forwarded and not been answered
        self.advancing = False  # `advance` runs; parsing may call it again
        self.refused = False  # a refusal was sent; further bytes are discarded
        self.upgraded = False  # the connection belongs to a WebSocket
        # The deadline of what is awaited, or the cut after a refusal.
        self.timer: asyncio.TimerHandle | None = None
        # What the timer waits for (head, body or silence), and of which request.
        self.deadline_for: tuple[str, int] | None = None
        self.set_deadline()

    def distrust(self, names: frozenset[bytes]) -> None:
        """Drop these headers too; names in lower case."""
        self.reader.untrusted |= names

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self.refused:
            return
        self.reader.buffer += data
        self.advance()
        if self.answering and len(self.reader.buffer) > MAX_HEAD_BYTES:
            self.connection.pause()

    def response_sent(self) -> None:
        """Forward the next request: the response to the one before is complete."""
        self.answering = False
        self.advance()

    def advance(self) -> None:
        """Forward all that may be forwarded now, and set the next deadline."""
        if self.advancing or self.refused or self.upgraded:
            return
        self.advancing = True
        try:
            while self.may_read() and self.forward():
                pass
        except Refusal as refusal:
            self.refuse(refusal)
        finally:
            self.advancing = False
        self.set_deadline()

    def may_read(self) -> bool:
        """Return True in a body and between requests: requests are answered in turn."""
        over = self.refused or self.upgraded
        return not over and (self.reader.in_body or not self.answering)

    def forward(self) -> bool:
        """Give the parser the next piece; return False if none is whole."""
        begins = not self.reader.in_body
        data = self.reader.read()
        if not data:
            return False
        if begins:
            assert self.reader.head is not None
            self.requests += 1
            self.answering = True
            if self.reader.head.is_handshake:
                self.upgrade(self.reader.head)
                return False
        self.connection.parse(data)
        return True

    def upgrade(self, head: Head) -> None:
        """Hand the connection over to a WebSocket: the server's parser has no part in it."""
        self.upgraded = True
        self.stop()
        self.connection.upgrade(head, self.reader.take(len(self.reader.buffer)))

    def set_deadline(self) -> None:
        """Set the deadline for a head or the rest of a body; no-op if it is set already."""
        if self.refused or self.upgraded:
            waits = None
        elif self.reader.in_body:
            waits = ("body", self.requests)
        elif self.answering:
            waits = None
        else:
            waits = ("head" if self.reader.buffer else "silence", self.requests)
        if waits == self.deadline_for:
            return
        self.stop()
        if waits:
            seconds = (
                settings.BODY_TIMEOUT_SECONDS
                if self.reader.in_body
                else settings.HEAD_TIMEOUT_SECONDS
            )
            self.set_timer(seconds, self.time_out, waits[0], seconds)
            self.deadline_for = waits

    def set_timer(
        self, seconds: float, do: Callable[..., None], *arguments: Any
    ) -> None:
        """Call ``do`` after so many seconds."""
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(seconds, do, *arguments)

    def stop(self) -> None:
        """Cancel the timer."""
        if self.timer:
            self.timer.cancel()
        self.timer = self.deadline_for = None

    def time_out(self, what: str, seconds: float) -> None:
        if what == "silence":
            self.stop()
            self.close_idle()
        else:
            self.refuse(
                Refusal(
                    408, f"expected the whole {what} within {seconds:g} s, got part"
                )
            )

    def close_idle(self) -> None:
        """Close an idle connection without a response.

        The last response may still be on its way, so it is cut only later; cutting at once
        is a TCP reset under Twisted.
        """
        seconds = settings.WRITE_TIMEOUT_SECONDS if self.requests else LINGER_SECONDS
        self.set_timer(seconds, self.connection.cut)
        self.connection.close()

    def refuse(self, refusal: Refusal) -> None:
        """Send the refusal instead of a response, and end the connection.

        A response that has been started cannot be replaced: the connection is cut.
        """
        if self.refused:
            return
        self.refused = True
        self.reader.buffer.clear()
        self.stop()
        logger.info(
            "%s - %d %s", self.connection.peer(), refusal.status, refusal.detail
        )
        if self.connection.answer_has_begun():
            self.connection.cut()
            return
        head = self.reader.head
        response = refusal.encode()
        if head is not None and head.method == b"HEAD":  # its response has no body
            response = response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        self.set_timer(LINGER_SECONDS, self.connection.cut)
        self.connection.end(response)
