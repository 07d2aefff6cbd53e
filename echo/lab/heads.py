"""Tells a page how many bytes the head of its request has: no script can see that itself."""

from typing import Any

# What a proxy adds is not what the browser has sent.
ADDED_BY_PROXIES = (b"x-forwarded-", b"x-real-ip", b"forwarded", b"via")


def head_bytes(scope: Any) -> int:
    """Return the size of an HTTP/1.1 request's head: request line, fields, and empty line."""
    target = (scope.get("raw_path") or scope["path"].encode()).split(b"?")[0]
    if query := scope["query_string"]:
        target += b"?" + query
    line = len(b"GET  HTTP/1.1\r\n") + len(target)
    fields = sum(
        len(name) + len(b": ") + len(value) + len(b"\r\n")
        for name, value in scope["headers"]
        if not name.startswith(ADDED_BY_PROXIES)
    )
    return line + fields + len(b"\r\n")


async def tell_head(scope: Any, receive: Any, send: Any) -> None:
    """Accept a WebSocket, send the size of its handshake's request, and close."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": str(head_bytes(scope))})
    await send({"type": "websocket.close"})
