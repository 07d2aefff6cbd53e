"""Decodes the bytes of one direction of a connection: a handshake, and then frames."""

from dataclasses import dataclass
from enum import Enum

from echo.client.frames import FrameParser, WireFrame

# How much of one payload a trace shows; it counts the rest.
SHOWN_PAYLOAD_BYTES = 1024
# Longer than any handshake that a server or the core accepts.
MAX_HANDSHAKE_BYTES = 1024 * 1024
END_OF_HEAD = b"\r\n\r\n"


class Direction(Enum):
    """The way that bytes go, seen from the client."""

    SENT = "sent"
    RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class WireBytes:
    """Bytes that are not a frame."""

    what: str  # `handshake`, `body` (of a refusal) or `unfinished frame`
    data: bytes


WireItem = WireBytes | WireFrame


class WireTrace:
    """Decodes the bytes of one direction; never raises, whatever they are."""

    def __init__(self) -> None:
        # The handshake so far; None once it is whole.
        self._head: bytearray | None = bytearray()
        # Decodes what follows the handshake; None before, and after a refusal.
        self._frames: FrameParser | None = None

    def feed(self, data: bytes) -> list[WireItem]:
        """Return the items that these bytes complete."""
        if self._frames is not None:
            return list(self._frames.feed(data))
        if self._head is None:
            return [WireBytes("body", data)] if data else []
        self._head += data
        end = self._head.find(END_OF_HEAD)
        if end < 0 and len(self._head) < MAX_HANDSHAKE_BYTES:
            return []
        end = end + len(END_OF_HEAD) if end >= 0 else len(self._head)
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        self._head = None
        if not is_refusal(head):
            self._frames = FrameParser(SHOWN_PAYLOAD_BYTES)
        return [WireBytes("handshake", head), *self.feed(rest)]

    def end(self) -> list[WireItem]:
        """Return what is left at the end of the stream: part of a handshake or a frame."""
        if self._head:
            return [WireBytes("handshake", bytes(self._head))]
        rest = self._frames.unfinished if self._frames else b""
        return [WireBytes("unfinished frame", rest)] if rest else []


def is_refusal(head: bytes) -> bool:
    """Return True for an HTTP response whose status is not 101."""
    words = head.split(b" ", 2)
    return head.startswith(b"HTTP/") and words[1:2] != [b"101"]
