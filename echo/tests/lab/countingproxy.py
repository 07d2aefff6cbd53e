"""A proxy before a site that counts the bytes of each lane of each race, in both directions.

Knows enough of HTTP/1.1 to see which request each byte belongs to, on connections that are
kept alive too; the bytes themselves pass as they are.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass
class Count:
    """What one lane of one race has cost on the wire."""

    requests: int = 0
    sent: int = 0
    received: int = 0


class Reader:
    """A stream whose bytes are counted and passed on as they are taken."""

    def __init__(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.to = to

    async def head(self) -> bytes:
        return self.passed(await self.reader.readuntil(b"\r\n\r\n"))

    async def line(self) -> bytes:
        return self.passed(await self.reader.readuntil(b"\r\n"))

    async def exactly(self, size: int) -> bytes:
        return self.passed(await self.reader.readexactly(size))

    async def some(self) -> bytes:
        data = await self.reader.read(65536)
        if not data:
            raise EOFError
        return self.passed(data)

    def passed(self, data: bytes) -> bytes:
        self.to.write(data)
        return data


class CountingProxy:
    """Listens on a port, and passes each connection on to the site's. A context manager."""

    def __init__(self, site_port: int) -> None:
        self.site_port = site_port
        # By the race's id and the name of the lane.
        self.counts: dict[str, dict[str, Count]] = defaultdict(
            lambda: defaultdict(Count)
        )
        self.tasks: set[asyncio.Task[None]] = set()  # one for each connection

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry a connection in a task of its own.

        asyncio logs an error for a task that it has made itself and that is cancelled.
        """
        task = asyncio.create_task(self.carry(reader, writer), name="proxy")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        site_reader, site_writer = await asyncio.open_connection(
            "127.0.0.1", self.site_port
        )
        try:
            await self.requests(
                Reader(reader, site_writer), Reader(site_reader, writer)
            )
        except (EOFError, OSError):
            pass
        finally:
            writer.close()
            site_writer.close()

    async def requests(self, client: Reader, site: Reader) -> None:
        """Pass requests and their responses on, one after another."""
        while True:
            head = await client.head()
            count = self.count_of(head.split(b" ")[1].decode())
            count.requests += 1
            count.sent += len(head) + len(
                await client.exactly(int(field(head, b"content-length") or 0))
            )
            # The client may go before there is a response.
            await first_of(self.until_gone(client), self.respond(client, site, count))

    async def until_gone(self, client: Reader) -> None:
        """Wait for the end of the client's side without taking a byte; raise EOFError."""
        while not client.reader.at_eof():  # noqa: ASYNC110 -- a stream has no event
            await asyncio.sleep(0.01)
        raise EOFError

    async def respond(self, client: Reader, site: Reader, count: Count) -> None:
        head = await site.head()
        count.received += len(head)
        if b" 101 " in head.split(b"\r\n")[0]:
            await self.frames(client, site, count)
        elif b"chunked" in (field(head, b"transfer-encoding") or b""):
            await self.chunks(site, count)
        else:
            size = int(field(head, b"content-length") or 0)
            count.received += len(await site.exactly(size))

    async def chunks(self, site: Reader, count: Count) -> None:
        size = -1
        while size:
            line = await site.line()
            size = int(line, 16)
            count.received += len(line) + len(await site.exactly(size + 2))

    async def frames(self, client: Reader, site: Reader, count: Count) -> None:
        """Pass a WebSocket's bytes on until one side ends it; raise EOFError."""

        async def up() -> None:
            while True:
                count.sent += len(await client.some())

        async def down() -> None:
            while True:
                count.received += len(await site.some())

        await first_of(up(), down())

    def count_of(self, target: str) -> Count:
        """Return the count of the lane that a request belongs to."""
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        race = (query.get("topic") or query.get("race") or [""])[0]
        name = parts.path.rsplit("/", 1)[1]
        if name == "poll":
            name = "longpoll" if "wait" in query else "shortpoll"
        lane = {"ws": "websocket"}.get(name, name)
        return self.counts[race.removeprefix("race.")][lane]


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Wait for the first of these to end, cancel the others, and raise what it raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def field(head: bytes, name: bytes) -> bytes | None:
    """Return a header field's value, in lower case."""
    for line in head.lower().split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key == name:
            return value.strip()
    return None
