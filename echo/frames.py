"""Encodes a server's WebSocket frames (RFC 6455 section 5.2).

They are not masked, so the bytes of one are the same for every client.
"""

import struct

# The opcode of a text message.
TEXT = 1


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Return a server's whole frame: unfragmented and not masked."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, length) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, length) + payload
