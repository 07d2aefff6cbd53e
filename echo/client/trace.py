"""One direction of a connection, as bytes that went by: a handshake, and then frames."""

from dataclasses import dataclass
from enum import Enum

from echo.client.frames import FrameParser, WireFrame

# How much of one payload a trace shows; the rest is counted.
SHOWN_PAYLOAD_BYTES = 1024
# Longer than any handshake that a server or the core accepts.
MAX_HANDSHAKE_BYTES = 1024 * 1024
END_OF_HEAD = b"\r\n\r\n"


class Direction(Enum):
    """Which way something went, seen from the client."""

    SENT = "sent"
    RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class WireBytes:
    """Bytes that are no frame: a ``handshake``, a refusal's ``body``, or what was cut off."""

    what: str
    data: bytes


WireItem = WireBytes | WireFrame


class WireTrace:
    """What one direction's bytes mean; never raises, whatever they are."""

    def __init__(self) -> None:
        self._head: bytearray | None = bytearray()
        self._frames: FrameParser | None = None

    def feed(self, data: bytes) -> list[WireItem]:
        """The items that these bytes complete."""
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
        """What is left when the stream ends: part of a handshake or of a frame."""
        if self._head:
            return [WireBytes("handshake", bytes(self._head))]
        rest = self._frames.unfinished if self._frames else b""
        return [WireBytes("unfinished frame", rest)] if rest else []


def is_refusal(head: bytes) -> bool:
    """True for an HTTP response whose status is not 101."""
    words = head.split(b" ", 2)
    return head.startswith(b"HTTP/") and words[1:2] != [b"101"]
