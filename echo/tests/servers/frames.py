"""A WebSocket client that controls every byte.

A library would refuse to send invalid frames, and would hide the bytes that arrive.
"""

import base64
import os
import socket
import ssl
import struct
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Self

from echo.tests.live import PATIENCE_SECONDS

MASKING_KEY = b"\x37\xfa\x21\x3d"  # RFC 6455 section 5.7's own


class Opcode(IntEnum):
    """RFC 6455 section 5.2."""

    CONT = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@dataclass(frozen=True)
class Frame:
    """One frame as received."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    masked: bool = False


def text(payload: str) -> Frame:
    return Frame(Opcode.TEXT, payload.encode())


def binary(payload: bytes) -> Frame:
    return Frame(Opcode.BINARY, payload)


def close(code: int, reason: str = "") -> Frame:
    return Frame(Opcode.CLOSE, struct.pack("!H", code) + reason.encode())


def masked(payload: bytes) -> bytes:
    """Return the payload masked with MASKING_KEY, as one integer: a loop takes seconds a MiB."""
    key = (MASKING_KEY * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return number.to_bytes(len(payload), "big")


def length_field(length: int, bits: int | None, mask: int) -> bytes:
    """Return the encoded length, in the shortest form or in 16 or 64 bits."""
    if bits == 64 or (bits is None and length > 0xFFFF):
        return struct.pack("!BQ", mask | 127, length)
    if bits == 16 or length > 125:
        return struct.pack("!BH", mask | 126, length)
    return struct.pack("!B", mask | length)


def encode(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bool = True,
    length_bits: int | None = None,
    length: int | None = None,
) -> bytes:
    """Return a frame, valid or not; ``length`` replaces the payload's length in the head."""
    announced = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    head += length_field(announced, length_bits, 0x80 if mask else 0)
    return head + (MASKING_KEY + masked(payload) if mask else payload)


class Refused(Exception):
    """The server has refused the handshake with an HTTP response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(f"{status} {body.decode()}")
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """One connection to ``/echo``; opened by the constructor, which may raise Refused.

    ``headers`` replace the handshake's own; None removes one. ``address`` is the client's,
    and ``tls`` the context for a site over TLS.
    """

    def __init__(
        self,
        port: int,
        target: str = "/echo",
        *,
        timeout_seconds: float = PATIENCE_SECONDS,
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        **headers: str | None,
    ) -> None:
        self.buffer = bytearray()
        self.socket = socket.create_connection(
            ("127.0.0.1", port), timeout_seconds, (address, 0)
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if tls is not None:
                self.socket = tls.wrap_socket(
                    self.socket,
                    server_hostname="127.0.0.1",
                    suppress_ragged_eofs=False,
                )
            self.handshake(target, {"Host": f"127.0.0.1:{port}", **headers})
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def handshake(self, target: str, headers: dict[str, str | None]) -> None:
        fields = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"GET {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items() if value]
        self.send("\r\n".join([*lines, "", ""]).encode())
        self.status, self.headers = self.read_head()
        if self.status != 101:
            length = int(self.headers.get("content-length", 0))
            raise Refused(self.status, self.headers, self.read(length))

    def read_head(self) -> tuple[int, dict[str, str]]:
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            self.receive()
        status, *lines = self.read(end + 4).decode("latin-1").strip().split("\r\n")
        fields = (line.split(":", 1) for line in lines)
        return int(status.split()[1]), {k.lower(): v.strip() for k, v in fields}

    def receive(self) -> None:
        """Read at least one byte. Raises EOFError at the end of the stream."""
        if not (data := self.socket.recv(1 << 20)):
            raise EOFError(f"the stream ended with {bytes(self.buffer[:80])!r} unread")
        self.buffer += data

    def read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self.receive()
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def send(self, *data: bytes) -> None:
        """Write bytes as they are, in one packet if they fit."""
        self.socket.sendall(b"".join(data))

    def send_frame(self, opcode: int, payload: bytes = b"", **fields: Any) -> None:
        self.send(encode(opcode, payload, **fields))

    def frame(self) -> Frame:
        """Return the next frame."""
        head, size = self.read(2)
        length = size & 0x7F
        if length > 125:
            length = int.from_bytes(self.read(2 if length == 126 else 8), "big")
        key = self.read(4) if size & 0x80 else b""
        return Frame(
            head & 0x0F, self.read(length), bool(head & 0x80), head >> 4 & 7, bool(key)
        )

    def rest(self) -> list[Frame]:
        """Return all frames up to the end of the stream. Raises for a TCP reset."""
        frames = []
        while self.buffer or self.more():
            frames.append(self.frame())
        return frames

    def more(self) -> bool:
        try:
            self.receive()
        except EOFError:
            return False
        return True
