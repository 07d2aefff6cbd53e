"""Checks WebSocket handshakes (Host, Origin) and refuses them with an HTTP response.

Knows ASGI and no consumer; the echo, the feed and the routing use it.
"""

import json
from collections.abc import Awaitable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from channels.security.websocket import OriginValidator
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from echo.protocol import error_body, redacted

DEFAULT_PORTS = {"http": 80, "https": 443}
# Django's hosts for DEBUG without ALLOWED_HOSTS (HttpRequest.get_host).
DEBUG_HOSTS = [".localhost", "127.0.0.1", "[::1]"]
# How much of a client's text an error quotes.
SHOWN_CHARACTERS = 100


async def refuse(
    send: Any, status: int, detail: str, retry_after_seconds: int | None = None
) -> None:
    """Refuse a handshake with an HTTP status, and the reason as JSON.

    Uses ASGI's ``websocket.http.response`` extension, which both servers have.
    """
    body = json.dumps(error_body(status, detail), ensure_ascii=False).encode()
    retry = (
        []
        if retry_after_seconds is None
        else [(b"retry-after", b"%d" % retry_after_seconds)]
    )
    await send(
        {
            "type": "websocket.http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
                *retry,
            ],
        }
    )
    await send({"type": "websocket.http.response.body", "body": body})


async def not_found(scope: Any, receive: Any, send: Any) -> None:
    """Refuse an unknown WebSocket path with 404; the last route."""
    path = scope["path"][:SHOWN_CHARACTERS]
    await refuse(send, 404, f"no WebSocket endpoint at {path}; see /echo")


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return the first value of a header, or None."""
    return next(
        (value.decode("latin-1") for key, value in headers if key == name), None
    )


def describe(scope: Any) -> dict[str, Any]:
    """Return a handshake as JSON, with secrets redacted."""
    headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
    query = scope["query_string"].decode("latin-1")
    host = header(scope["headers"], b"host")
    return {
        "url": f"{scope['scheme']}://{host}{scope['path']}{'?' * bool(query)}{query}",
        "args": dict(parse_qsl(query, keep_blank_values=True)),
        "headers": redacted(headers),
        "origin": header(scope["headers"], b"origin"),
        "subprotocols": list(scope["subprotocols"]),
        "client": address(scope["client"]),
        "server": address(scope["server"]),
    }


def address(pair: Any) -> str | None:
    """Return ``host:port``, or None on a Unix socket."""
    return f"{pair[0]}:{pair[1]}" if pair else None


def host_problem(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the problem with a request's Host, or None if ALLOWED_HOSTS allows it.

    The rule of HttpRequest.get_host, for requests that do not pass through Django. If every
    Host were accepted, a page whose name points here (DNS rebinding) would have the site's
    origin. X-Forwarded-Host is ignored: any client can send it.
    """
    hosts = [value.decode("latin-1") for key, value in headers if key == b"host"]
    if len(hosts) != 1:
        return f"expected one Host header (RFC 9112 section 3.2), got {len(hosts)}"
    allowed = settings.ALLOWED_HOSTS
    if settings.DEBUG and not allowed:
        allowed = DEBUG_HOSTS
    domain, _ = split_domain_port(hosts[0])
    if domain and validate_host(domain, allowed):
        return None
    return (
        "expected a Host that is in the setting ALLOWED_HOSTS, got "
        f"{hosts[0][:SHOWN_CHARACTERS]!r}; add its name there to let it in"
    )


class SameOrigin(OriginValidator):
    """Accepts a WebSocket whose Origin is the site, is allowed, or is absent.

    The Host has to be in ALLOWED_HOSTS. Browsers always send an Origin; a client that sends
    none is accepted, as by gorilla, because it could send any. Channels'
    AllowedHostsOriginValidator refuses such clients, and does not compare ports.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(application, settings.ALLOWED_ORIGINS)

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """Return the coroutine of the application or of the refusal.

        One of its own would stay in memory as long as the connection.
        """
        if problem := host_problem(scope["headers"]):
            return refuse(send, 400, problem)
        host = header(scope["headers"], b"host") or ""
        origin = header(scope["headers"], b"origin")
        if origin is None or self.same(origin, host) or self.allowed(origin):
            application: Awaitable[None] = self.application(scope, receive, send)
            return application
        return refuse(
            send,
            403,
            f"expected an Origin with the host {host[:SHOWN_CHARACTERS]}, got "
            f"{origin[:SHOWN_CHARACTERS]}; add it to ALLOWED_ORIGINS to let it in",
        )

    def allowed(self, origin: str) -> bool:
        """Return True if ALLOWED_ORIGINS has the origin, its domain, or ``*``."""
        try:
            return bool(self.validate_origin(urlsplit(origin)))
        except ValueError:  # a port that is no number
            return False

    @staticmethod
    def same(origin: str, host: str) -> bool:
        """Return True if both have the same host and port; the default is the scheme's."""
        try:
            parts, own = urlsplit(origin), urlsplit(f"//{host}")
            default = DEFAULT_PORTS.get(parts.scheme)
            return (
                default is not None
                and parts.hostname is not None
                and parts.hostname == own.hostname
                and (parts.port or default) == (own.port or default)
            )
        except ValueError:
            return False
