"""Cuts connections whose client takes no bytes while some wait for it, on both servers.

Such a connection cannot end by itself: a close frame would wait behind those bytes, and no
pong would be seen, because the server does not read from a client that does not read.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

# Time between two sweeps over the connections.
SWEEP_SECONDS = 1.0
# `tcpi_bytes_acked` in Linux's `struct tcp_info`, and where it ends.
BYTES_ACKED = struct.Struct("120xQ")


@dataclass(frozen=True, slots=True)
class Backlog:
    """The bytes that wait in the server's own buffer for one client."""

    transport: Any  # the key of the connection between sweeps
    socket: Any
    size: int  # in bytes
    cut: Callable[[], None]

    def progress(self) -> int:
        """Return a number that changes whenever the client takes bytes.

        The kernel counts the bytes that the client has acknowledged. Without that count
        (other systems, other sockets) it is the size of the backlog, which is coarse: the
        kernel takes nothing more until a third of its buffer, a megabyte, is free.
        """
        try:
            info = self.socket.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED.size
            )
            return int(BYTES_ACKED.unpack(info)[0])
        except (AttributeError, OSError, struct.error):
            return self.size


class StallDetector:
    """Finds connections with a backlog whose client has stopped taking bytes.

    Writing costs nothing extra: a sweep looks at the backlogs only.
    """

    def __init__(self) -> None:
        # By transport: the progress at the last sweep, and when it was first seen.
        self.progress_seen: dict[Any, tuple[int, float]] = {}

    def sweep(self, backlogs: Iterable[Backlog]) -> None:
        """Cut each connection whose client took nothing for WRITE_TIMEOUT_SECONDS."""
        now = time.monotonic()
        before, self.progress_seen = self.progress_seen, {}
        for backlog in backlogs:
            progress = backlog.progress()
            seen, since = before.get(backlog.transport, (None, now))
            if progress != seen:
                since = now
            if now - since >= settings.WRITE_TIMEOUT_SECONDS:
                backlog.cut()
            else:
                self.progress_seen[backlog.transport] = progress, since
