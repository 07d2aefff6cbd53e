"""The load's side of a WebSocket: a plain socket after the handshake, and raw frames."""

import socket
import struct

TIMEOUT_SECONDS = 20.0
# Any 16 bytes in base64; no answer is checked against it.
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def upgrade(port: int, path: str) -> socket.socket:
    """Connect, send the handshake, and return the socket after the 101 response."""
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(
        (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
    )
    response = b""
    # Byte by byte: frames may follow the head at once.
    while not response.endswith(b"\r\n\r\n"):
        response += connection.recv(1)
    if b" 101 " not in response.partition(b"\r\n")[0]:
        raise RuntimeError(f"expected 101, got {response.decode('latin-1')}")
    return connection


def frame(payload: bytes, *, mask: bool) -> bytes:
    """Return a binary frame; its masking key is zero, which leaves the payload as it is."""
    bit, size = 0x80 if mask else 0, len(payload)
    head = struct.pack("!BBH", 0x82, bit | 126, size)
    if size < 126:
        head = struct.pack("!BB", 0x82, bit | size)
    return head + bytes(4 if mask else 0) + payload


def messages(data: bytes | bytearray) -> list[bytes]:
    """Return the payloads of the whole data frames at the beginning, without pings."""
    found, place = [], 0
    while len(data) >= place + 2:
        size, start = data[place + 1], place + 2
        if size == 126:
            if len(data) < place + 4:
                break
            size, start = struct.unpack_from("!H", data, place + 2)[0], place + 4
        if len(data) < start + size:
            break
        if data[place] & 0x0F < 8:  # a data frame
            found.append(bytes(data[start : start + size]))
        place = start + size
    return found
