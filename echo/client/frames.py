"""Decodes WebSocket frames from any bytes, valid or not, for the trace.

The core of ``websockets`` hides the masking key, and stops at the first invalid frame, which
is the one that a trace has to show.
"""

import sys
from dataclasses import dataclass

# RFC 6455 section 5.2: after a 7-bit length of 126 or 127, the length has this many bytes.
EXTENDED_LENGTH_BYTES = {126: 2, 127: 8}
MASK_BIT = 0x80


@dataclass(frozen=True, slots=True)
class WireFrame:
    """One frame as it went over the wire, field by field (RFC 6455 section 5.2)."""

    header: bytes  # from the first byte to the masking key
    fin: bool
    rsv: int  # RSV1, RSV2 and RSV3 as the bits of a number from 0 to 7
    opcode: int
    length: int  # the payload's, by the header
    masking_key: bytes | None  # None if the MASK bit is 0
    wire_payload: bytes  # masked if there is a key; at most what the parser keeps

    @property
    def payload(self) -> bytes:
        """The unmasked payload."""
        if self.masking_key is None:
            return self.wire_payload
        size = len(self.wire_payload)
        key = (self.masking_key * (size // 4 + 1))[:size]
        unmasked = int.from_bytes(self.wire_payload) ^ int.from_bytes(key)
        return unmasked.to_bytes(size)


class FrameParser:
    """Cuts a stream of bytes into frames, in whatever pieces it arrives.

    Keeps at most ``keep`` bytes of each payload, so that a huge frame costs no memory.
    """

    def __init__(self, keep: int = sys.maxsize) -> None:
        self._keep = keep  # bytes of each payload
        self._header = bytearray()  # of the current frame so far
        self._payload = bytearray()  # of the current frame so far, as far as it is kept
        self._arrived = 0  # bytes of the current payload, kept or not

    @property
    def unfinished(self) -> bytes:
        """The bytes of a frame that is not whole."""
        return bytes(self._header + self._payload)

    def feed(self, data: bytes) -> list[WireFrame]:
        """Return the frames that these bytes complete."""
        frames: list[WireFrame] = []
        position = 0
        while position < len(data):
            # No header is longer than 14 bytes.
            position += self._take_header(data[position : position + 14])
            if len(self._header) < header_size(self._header):
                break
            position += self._take_payload(memoryview(data)[position:])
            if self._arrived == payload_length(self._header):
                frames.append(self._finish())
        return frames

    def _take_header(self, data: bytes) -> int:
        taken = 0
        # The first two bytes decide how many more the header has.
        while missing := header_size(self._header) - len(self._header):
            piece = data[taken : taken + missing]
            self._header += piece
            taken += len(piece)
            if len(piece) < missing:
                break
        return taken

    def _take_payload(self, data: memoryview) -> int:
        taken = min(payload_length(self._header) - self._arrived, len(data))
        self._payload += data[: min(taken, self._keep - len(self._payload))]
        self._arrived += taken
        return taken

    def _finish(self) -> WireFrame:
        header = bytes(self._header)
        masked = header[1] & MASK_BIT
        frame = WireFrame(
            header=header,
            fin=bool(header[0] & 0x80),
            rsv=header[0] >> 4 & 0b111,
            opcode=header[0] & 0x0F,
            length=payload_length(header),
            masking_key=header[-4:] if masked else None,
            wire_payload=bytes(self._payload),
        )
        self._header.clear()
        self._payload.clear()
        self._arrived = 0
        return frame


def header_size(header: bytes | bytearray) -> int:
    """Return the header's size in bytes; 2 until its first two bytes are there."""
    if len(header) < 2:
        return 2
    extended = EXTENDED_LENGTH_BYTES.get(header[1] & ~MASK_BIT, 0)
    return 2 + extended + (4 if header[1] & MASK_BIT else 0)


def payload_length(header: bytes | bytearray) -> int:
    """Return the payload's size in bytes; the header must be whole."""
    short = header[1] & ~MASK_BIT
    extended = EXTENDED_LENGTH_BYTES.get(short)
    return int.from_bytes(header[2 : 2 + extended]) if extended else short
