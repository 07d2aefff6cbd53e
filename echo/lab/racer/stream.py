"""A TCP or TLS stream that counts its bytes, and HTTP/1.1 responses on it."""

import asyncio
import ssl
from dataclasses import dataclass, field

from echo.lab.racer.heads import Site

READ_BYTES = 64 * 1024


@dataclass(slots=True)
class Tally:
    """The bytes of one lane, over all its connections."""

    sent: int = 0
    received: int = 0


@dataclass(slots=True)
class Response:
    """The head of an HTTP response."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)  # names in lower case
    cookies: list[str] = field(default_factory=list)  # that it sets, ``name=value``


class Stream:
    """One connection; counts what is written and what has been read."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tally: Tally
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.tally = tally
        self.buffer = bytearray()  # read and not taken yet

    @classmethod
    async def open(cls, site: Site, tally: Tally) -> "Stream":
        """Return a new connection to the site. Raises OSError."""
        tls = ssl.create_default_context() if site.is_secure else None
        return cls(*await asyncio.open_connection(site.host, site.port, ssl=tls), tally)

    async def write(self, data: bytes) -> None:
        self.tally.sent += len(data)
        self.writer.write(data)
        await self.writer.drain()

    async def fill(self) -> None:
        """Add what comes next to the buffer, at least one byte. Raises EOFError."""
        data = await self.reader.read(READ_BYTES)
        self.tally.received += len(data)
        if not data:
            raise EOFError
        self.buffer += data

    async def take_some(self) -> bytes:
        """Return what has come, at least one byte. Raises EOFError."""
        if not self.buffer:
            await self.fill()
        return self.cut_off(len(self.buffer))

    async def take(self, size: int) -> bytes:
        """Return exactly so many bytes. Raises EOFError."""
        while len(self.buffer) < size:
            await self.fill()
        return self.cut_off(size)

    async def take_until(self, end: bytes) -> bytes:
        """Return the bytes up to and with the first ``end``. Raises EOFError."""
        while (place := self.buffer.find(end)) < 0:
            await self.fill()
        return self.cut_off(place + len(end))

    def cut_off(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def head(self) -> Response:
        """Return the head of the next response. Raises EOFError."""
        status_line, *lines = (
            (await self.take_until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        )
        response = Response(int(status_line.split(" ")[1]))
        for line in filter(None, lines):
            name, _, value = line.partition(":")
            response.fields[name.lower()] = value.strip()
            if name.lower() == "set-cookie":
                response.cookies.append(value.strip().split(";")[0])
        return response

    async def chunk(self) -> bytes:
        """Return the next chunk of a chunked body; empty for the last. Raises EOFError."""
        size = int((await self.take_until(b"\r\n")).split(b";")[0], 16)
        return (await self.take(size + 2))[:-2]

    async def body(self, response: Response) -> bytes:
        """Return a whole body. Raises EOFError."""
        if response.fields.get("transfer-encoding") == "chunked":
            parts = []
            while part := await self.chunk():
                parts.append(part)
            return b"".join(parts)
        return await self.take(int(response.fields.get("content-length", 0)))

    def abort(self) -> None:
        """End the connection at once."""
        self.writer.transport.abort()
