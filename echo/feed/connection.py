"""The connection that a subscription belongs to, and when its client is to come back."""

import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from echo.protocol import CUT_EXTENSION, WRITE_EXTENSION

# Clients that are ended together come back one by one.
RECONNECTS_A_SECOND = 500
MAX_SPREAD_SECONDS = 20.0
# The wait of a client that must not reconnect: a stock EventSource ignores close codes.
STAY_AWAY_SECONDS = 24 * 60 * 60.0


def return_seconds(count: int) -> float:
    """Return how many seconds one of so many clients is to wait before it comes back.

    A random time, so that they do not come back together.
    """
    spread = min(MAX_SPREAD_SECONDS, 0.5 + count / RECONNECTS_A_SECOND)
    return random.uniform(0.1, spread)


def do_nothing() -> None:
    """Stand in for the ``cut`` of a server that has none."""


def write_nothing(data: bytes) -> bool:
    """Stand in for the ``write`` of a server that has none."""
    return False


@dataclass(frozen=True, slots=True)
class Connection:
    """The connection that a subscription belongs to, as operators see it."""

    # "websocket", "sse", "longpoll" or "shortpoll".
    transport: str
    # The client's, as the server knows it; empty on a Unix socket.
    address: str = ""
    user_agent: str = ""
    # Closes it at once, without a word.
    cut: Callable[[], None] = do_nothing
    # Writes bytes at once and returns True; False where they must be sent: WRITE_EXTENSION.
    write: Callable[[bytes], bool] = write_nothing
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    # When it was opened, in Unix seconds.
    since: float = field(default_factory=time.time)

    @classmethod
    def of(cls, scope: Mapping[str, Any], transport: str) -> Self:
        """Return the connection of an ASGI scope, HTTP or WebSocket."""
        client = scope.get("client")
        agent = dict(scope["headers"]).get(b"user-agent", b"")
        extensions = scope.get("extensions", {})
        return cls(
            transport=transport,
            address=client[0] if client else "",
            user_agent=agent.decode("latin-1"),
            cut=extensions.get(CUT_EXTENSION, do_nothing),
            write=extensions.get(WRITE_EXTENSION, write_nothing),
        )
