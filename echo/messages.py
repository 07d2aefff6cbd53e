"""One message of the echo: its size on the wire, the verdict on it, and its log line."""

import logging

from echo.protocol import CloseCode

# The code and the reason of the close frame that ends a conversation.
Ending = tuple[int, str]

logger = logging.getLogger("echo.messages")
LOGGED_CHARACTERS = 200


def size_in_bytes(payload: str | bytes) -> int:
    """The payload's length on the wire."""
    return len(payload.encode()) if isinstance(payload, str) else len(payload)


def too_big(payload: str | bytes, limit: int) -> Ending | None:
    """The 1009 that a message over the limit (bytes) gets, None for one within it."""
    # UTF-8 takes at most four bytes a character: most messages need no encoding to judge.
    if len(payload) * 4 <= limit:
        return None
    size = size_in_bytes(payload)
    if size <= limit:
        return None
    return CloseCode.MESSAGE_TOO_BIG, f"message of {size} bytes exceeds {limit} bytes"


def log_received(payload: str | bytes) -> None:
    """gorilla's log line, ``recv: …``, with control characters escaped and long text cut."""
    shown = payload[:LOGGED_CHARACTERS]
    text = shown if isinstance(shown, str) else shown.decode("latin-1")
    escaped = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    logger.info("recv: %s%s", escaped, "…" if len(shown) < len(payload) else "")
