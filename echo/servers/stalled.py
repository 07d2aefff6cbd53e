"""Cuts connections whose client takes nothing while bytes wait for it; both servers use it.

Such a connection cannot end by itself: a close frame would wait behind those bytes, and a
pong could not be seen, because a client that does not read is not read from.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

# How often the connections are looked at.
SWEEP_SECONDS = 1.0
# `tcpi_bytes_acked` in Linux's `struct tcp_info`, and where it ends.
BYTES_ACKED = struct.Struct("120xQ")


@dataclass(frozen=True, slots=True)
class Unread:
    """A connection for whose client bytes wait in the server's own buffer."""

    transport: Any
    socket: Any
    size: int
    cut: Callable[[], None]

    def progress(self) -> int:
        """Return a number that changes whenever the client takes bytes.

        The kernel counts what the client's side has acknowledged. The size of our own
        buffer is a coarse measure, for systems and sockets without that count: the kernel
        takes nothing more until a third of its buffer, a megabyte, is free.
        """
        try:
            info = self.socket.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED.size
            )
            return int(BYTES_ACKED.unpack(info)[0])
        except (AttributeError, OSError, struct.error):
            return self.size


class Stalled:
    """Remembers, of the connections with bytes that wait, when their clients last took any.

    Nothing is counted when bytes are written: a sweep costs each connection one look at
    the size of its buffer, and the others nothing.
    """

    def __init__(self) -> None:
        # By transport: the progress, and when it was first seen to stand there.
        self.standing: dict[Any, tuple[int, float]] = {}

    def sweep(self, waiting: Iterable[Unread]) -> None:
        """Cut each connection whose client took nothing for WRITE_TIMEOUT_SECONDS."""
        now = time.monotonic()
        before, self.standing = self.standing, {}
        for unread in waiting:
            progress = unread.progress()
            seen, since = before.get(unread.transport, (None, now))
            if progress != seen:
                since = now
            if now - since >= settings.WRITE_TIMEOUT_SECONDS:
                unread.cut()
            else:
                self.standing[unread.transport] = progress, since
