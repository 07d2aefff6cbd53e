"""The base of the HTTP consumers that run beside Django: streams, polls and publishing.

Django keeps a thread, and with it a database connection, for each request until the
response is complete. A consumer made from this one needs neither. Knows no feed.
"""

import asyncio
import json
import logging
from collections.abc import Coroutine, Iterable
from io import BytesIO
from typing import Any, TypeVar

from channels.generic.http import AsyncHttpConsumer
from csp.middleware import CSPMiddleware
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from echo.protocol import (
    LOG_RETRY_SECONDS,
    LOG_UNREACHABLE,
    FeedError,
    TooLarge,
    Unauthorized,
    error_body,
)

logger = logging.getLogger("echo.feed")

JSON = b"application/json; charset=utf-8"
# How long to wait for the whole body.
BODY_SECONDS = 20.0

Header = tuple[bytes, bytes]
T = TypeVar("T")


class BodyTooLate(FeedError):
    """A request whose body did not arrive in time."""

    status = 408


class Disconnected(Exception):
    """The client has gone before the end of its response."""


class HttpConsumer(AsyncHttpConsumer):
    """One HTTP request and its response; a subclass implements ``handle``.

    Channels' own ``__call__`` dispatches each event to a handler, with a thread hop to close
    old database connections; this one reads the events itself.
    """

    method = "GET"  # the only one that it accepts
    request: ASGIRequest  # Django's parsed request; missing if it cannot be parsed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive_event, self.base_send = scope, receive, send
        try:
            if await self.is_acceptable():
                await self.handle()
        except FeedError as error:
            await self.refuse(error.status, str(error), headers_of(error))
        except DatabaseError as error:
            logger.warning("%s: the database failed: %s", scope["path"], error)
            await self.refuse(503, LOG_UNREACHABLE, [retry_after(LOG_RETRY_SECONDS)])
        except Disconnected:
            pass

    async def handle(self) -> None:  # type: ignore[override]
        """Send the response. FeedError becomes a refusal, DatabaseError a 503."""
        raise NotImplementedError

    # --- the request -------------------------------------------------------------------

    async def is_acceptable(self) -> bool:
        """Check the host and the method as Django would; refuse a request that fails."""
        try:
            self.request = ASGIRequest(self.scope, BytesIO())
            self.request.get_host()
        except (DisallowedHost, UnicodeDecodeError) as error:
            await self.refuse(400, str(error))
            return False
        if self.scope["method"] != self.method:
            expected, got = self.method, self.scope["method"]
            allow = [(b"allow", expected.encode())]
            await self.refuse(405, f"expected {expected}, got {got}", allow)
            return False
        return True

    async def read_body(self, limit: int) -> bytes:
        """Return the request's body. Raises TooLarge over the limit, and BodyTooLate."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self.read_pieces(limit)
        except TimeoutError:
            raise BodyTooLate(
                f"expected the whole body within {BODY_SECONDS:g} s"
            ) from None

    async def read_pieces(self, limit: int) -> bytes:
        body = bytearray()
        is_whole = False
        while not is_whole:
            event = await self.receive_event()
            if event["type"] == "http.disconnect":
                raise Disconnected
            body += event.get("body", b"")
            if len(body) > limit:
                raise TooLarge(f"expected a body of at most {limit} bytes")
            is_whole = not event.get("more_body", False)
        return bytes(body)

    async def unless_disconnected(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of the work. If the client goes first, cancel it and raise."""
        working = asyncio.create_task(work, name="response")
        leaving = asyncio.create_task(self.disconnect_received(), name="disconnect")
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Disconnected
            return working.result()
        finally:
            working.cancel()
            leaving.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)

    async def disconnect_received(self) -> None:
        """Discard what the client sends, and return when it has gone."""
        while (await self.receive_event())["type"] != "http.disconnect":
            pass

    # --- the response ------------------------------------------------------------------

    async def begin(self, status: int, headers: Iterable[Header]) -> None:
        """Send the status and the headers, with the site's security headers."""
        common = security_headers(self.request) if hasattr(self, "request") else []
        await self.send_headers(status=status, headers=[*headers, *common])

    async def answer(self, status: int, body: bytes, headers: Iterable[Header]) -> None:
        """Send a whole response."""
        length = (b"content-length", b"%d" % len(body))
        await self.begin(status, [*headers, length])
        await self.send_body(body)

    async def answer_json(
        self, status: int, value: Any, headers: Iterable[Header] = ()
    ) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        await self.answer(status, text.encode(), [(b"content-type", JSON), *headers])

    async def refuse(
        self, status: int, detail: str, headers: Iterable[Header] = ()
    ) -> None:
        """Send an error as JSON: status_code, error and detail."""
        headers = [(b"cache-control", b"no-store"), *headers]
        await self.answer_json(status, error_body(status, detail), headers)


def headers_of(error: FeedError) -> list[Header]:
    """Return the headers that go with a refusal for this error."""
    if isinstance(error, Unauthorized):
        return [(b"www-authenticate", b"Bearer")]
    seconds = error.retry_after_seconds
    return [] if seconds is None else [retry_after(seconds)]


def retry_after(seconds: int) -> Header:
    return b"retry-after", b"%d" % seconds


# By whether the site was reached over TLS, which is all that they depend on.
_security_headers: dict[bool, list[Header]] = {}


def security_headers(request: HttpRequest) -> list[Header]:
    """Return the security headers that Django's middleware adds to every response."""
    is_secure = request.is_secure()
    if is_secure not in _security_headers:
        answer: Any = lambda request: HttpResponse()  # noqa: E731
        for middleware in (XFrameOptionsMiddleware, CSPMiddleware, SecurityMiddleware):
            answer = middleware(answer)
        _security_headers[is_secure] = [
            (name.lower().encode("ascii"), value.encode("latin-1"))
            for name, value in answer(request).items()
            if name != "Content-Type"
        ]
    return _security_headers[is_secure]
