"""One message of the echo: its size on the wire, the check of it, and its log line."""

import logging

from echo.protocol import CloseCode

# The code and the reason to close a connection with.
CloseFrame = tuple[int, str]

logger = logging.getLogger("echo.messages")
LOGGED_CHARACTERS = 200


def size_in_bytes(payload: str | bytes) -> int:
    """Return the payload's length on the wire."""
    return len(payload.encode()) if isinstance(payload, str) else len(payload)


def size_violation(payload: str | bytes, limit: int) -> CloseFrame | None:
    """Return the 1009 for a message over the limit in bytes, or None."""
    # UTF-8 has at most four bytes a character: most messages need no encoding here.
    if len(payload) * 4 <= limit:
        return None
    size = size_in_bytes(payload)
    if size <= limit:
        return None
    return CloseCode.MESSAGE_TOO_BIG, f"message of {size} bytes exceeds {limit} bytes"


def log_received(payload: str | bytes) -> None:
    """Log ``recv: …`` as gorilla's server, with control characters escaped and text cut."""
    shown = payload[:LOGGED_CHARACTERS]
    text = shown if isinstance(shown, str) else shown.decode("latin-1")
    escaped = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    logger.info("recv: %s%s", escaped, "…" if len(shown) < len(payload) else "")
