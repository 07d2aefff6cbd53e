"""Writes a server's WebSocket frames (RFC 6455 section 5.2).

They are not masked, so the bytes of one are the same for every client.
"""

import struct

# The first byte of a whole text message: FIN and the opcode.
TEXT = 0x81


def write_frame(first: int, payload: bytes | bytearray | memoryview) -> bytes:
    """Return the frame whose first byte has FIN and the opcode."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, length)
    elif length < 65536:
        head = struct.pack("!BBH", first, 126, length)
    else:
        head = struct.pack("!BBQ", first, 127, length)
    return head + payload
