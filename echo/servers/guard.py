"""Stands between a connection's bytes and a server's HTTP parser, under both servers.

Passes requests on one at a time, each head whole and judged, and bounds the time that a
head and a body may take. Knows the event loop, and a connection by the methods of Connection.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from django.conf import settings

from echo.servers.heads import MAX_HEAD_BYTES, Refusal, RequestReader

# How long a refused client is read from, so that it can read the reason: closing at once
# would answer what it still sends with a TCP reset, which can overtake the reason.
LINGER_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """What a guard asks of a server's connection."""

    def parse(self, data: bytes) -> None:
        """Give the bytes to the server's own parser."""

    def answer_has_begun(self) -> bool:
        """True when the response to the current request is on its way."""

    def end(self, response: bytes) -> None:
        """Write the response, if any, and close for writing; no application answers now."""

    def close(self) -> None:
        """Close the connection when what was written has been sent."""

    def cut(self) -> None:
        """Close the connection both ways at once."""

    def pause(self) -> None:
        """Stop reading; the server reads on when it has answered."""

    def peer(self) -> str:
        """Return the client's address for the log."""


class Guard:
    """Guards one connection, from its first byte until it becomes a WebSocket or ends."""

    def __init__(self, connection: Connection, *untrusted: bytes) -> None:
        self.connection = connection
        self.reader = RequestReader(
            max_body_bytes=settings.MAX_BODY_BYTES, untrusted=untrusted
        )
        self.requests = 0
        self.answering = False  # a request has been passed on, and not been answered
        self.advancing = False
        self.refused = False  # what still arrives is discarded
        self.upgraded = False  # the connection is a WebSocket's now
        self.timer: asyncio.TimerHandle | None = None
        self.watched: tuple[str, int] | None = None  # what the timer is for
        self.watch()

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self.refused:
            return
        self.reader.buffer += data
        self.advance()
        if self.answering and len(self.reader.buffer) > MAX_HEAD_BYTES:
            self.connection.pause()

    def answered(self) -> None:
        """The response is complete: the next request may follow."""
        self.answering = self.upgraded = False
        self.advance()

    def advance(self) -> None:
        """Pass on what is whole."""
        if self.advancing or self.refused or self.upgraded:
            return
        self.advancing = True
        try:
            while self.may_read() and self.pass_on():
                pass
        except Refusal as refusal:
            self.refuse(refusal)
        finally:
            self.advancing = False
        self.watch()

    def may_read(self) -> bool:
        """True in a body, and between requests; a request waits for the answer before it."""
        over = self.refused or self.upgraded
        return not over and (self.reader.in_body or not self.answering)

    def pass_on(self) -> bool:
        """Give the parser what it may have now; False when more has to arrive."""
        begins = not self.reader.in_body
        data = self.reader.read()
        if not data:
            return False
        if begins:
            assert self.reader.head is not None
            self.requests += 1
            self.answering = True
            self.upgraded = self.reader.head.is_handshake
        self.connection.parse(data)
        return True

    def rest(self) -> bytes:
        """Return what came behind a handshake, for the WebSocket."""
        return self.reader.take(len(self.reader.buffer))

    def watch(self) -> None:
        """Set the deadline of what is waited for now: a head, or the rest of a body."""
        if self.refused or self.upgraded:
            waits = None
        elif self.reader.in_body:
            waits = ("body", self.requests)
        elif self.answering:
            waits = None
        else:
            waits = ("head" if self.reader.buffer else "silence", self.requests)
        if waits == self.watched:
            return
        self.stop()
        if waits:
            seconds = (
                settings.BODY_TIMEOUT_SECONDS
                if self.reader.in_body
                else settings.HEAD_TIMEOUT_SECONDS
            )
            self.after(seconds, self.time_out, waits[0], seconds)
            self.watched = waits

    def after(self, seconds: float, do: Callable[..., None], *arguments: Any) -> None:
        """Set the timer."""
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(seconds, do, *arguments)

    def stop(self) -> None:
        """Forget the deadline."""
        if self.timer:
            self.timer.cancel()
        self.timer = self.watched = None

    def time_out(self, what: str, seconds: float) -> None:
        if what == "silence":
            self.stop()
            self.end_silence()
        else:
            self.refuse(
                Refusal(
                    408, f"expected the whole {what} within {seconds:g} s, got part"
                )
            )

    def end_silence(self) -> None:
        """Close without a word; the rest of the last answer may take its time.

        Cutting at once would be a TCP reset under Twisted.
        """
        seconds = settings.WRITE_TIMEOUT_SECONDS if self.requests else LINGER_SECONDS
        self.after(seconds, self.connection.cut)
        self.connection.close()

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the application's place, and end the connection."""
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
        if head is not None and head.method == b"HEAD":  # its answer has no body
            response = response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        self.after(LINGER_SECONDS, self.connection.cut)
        self.connection.end(response)
