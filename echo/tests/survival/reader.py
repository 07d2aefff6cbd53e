"""A client as docs/protocol.md wants one: it resumes from its cursor, on any of the nodes."""

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from echo.tests.live import PATIENCE_SECONDS, LiveSite
from echo.tests.survival.record import Figures, Record

# Where a real client would wait half a second to twenty.
RETRY_SECONDS = (0.05, 0.3)


async def eventually(
    condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until the condition holds; fail with ``what`` if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        await asyncio.sleep(0.02)


async def settled(
    readers: Sequence["Reader"],
    published: Collection[Any],
    seconds: float = PATIENCE_SECONDS,
) -> Figures:
    """Wait until each reader has all that was published; return their figures."""
    for reader in readers:
        with contextlib.suppress(AssertionError):  # the figures say what is missing
            await reader.has(len(published), seconds)
    return sum((reader.record.figures(published) for reader in readers), Figures())


class Reader:
    """Reads the feed over one transport until it is closed, and records what came."""

    def __init__(
        self,
        nodes: Sequence[LiveSite],
        transport: str = "websocket",
        since: str = "now",
        topics: Sequence[str] = ("*",),
        receive_buffer: int | None = None,
    ) -> None:
        self.nodes = list(nodes)
        self.frames = {"websocket": self.websocket, "sse": self.sse}[transport]
        self.since = since
        self.topics = topics
        self.receive_buffer = receive_buffer
        self.record = Record()
        self.close_codes: list[int] = []
        self.connects = 0
        self.is_open = False
        self.lags: list[float] = []
        self.reading = asyncio.Event()
        self.reading.set()

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.run(), name="reader")
        await self.opened()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def opened(self) -> None:
        await eventually(lambda: self.is_open or self.task.done(), "hello")
        if self.task.done():
            self.task.result()

    async def has(self, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until so many events have come."""
        await eventually(
            lambda: self.task.done() or len(self.record.data) >= count,
            f"{count} events, got {len(self.record.data)} so far",
            seconds,
        )
        if self.task.done():
            self.task.result()

    async def run(self) -> None:
        """Connects, reads to the end, and comes back: to the next node if there is one."""
        while True:
            try:
                async with aclosing(self.frames(self.nodes[0])) as frames:
                    async for frame in frames:
                        self.take(frame)
            except (OSError, EOFError, InvalidHandshake, TimeoutError):
                pass  # nobody is there at the moment
            self.is_open = False
            await asyncio.sleep(self.patience())
            self.nodes.append(self.nodes.pop(0))

    def patience(self) -> float:
        """Return the seconds to wait before it reconnects: those of the last ``bye``, else a moment."""
        if self.record.byes and len(self.record.byes) == self.connects:
            return float(self.record.byes[-1]["retry_ms"]) / 1000
        return random.uniform(*RETRY_SECONDS)

    def take(self, frame: dict[str, Any]) -> None:
        self.record.take(frame)
        if frame["type"] == "hello":
            self.connects += 1
            self.is_open = True
        elif frame["type"] == "event":
            sent_at = datetime.fromisoformat(frame["sent_at"]).timestamp()
            self.lags.append(time.time() - sent_at)

    def query(self) -> str:
        since = str(self.record.cursor or self.since)
        return urlencode([*(("topic", t) for t in self.topics), ("since", since)])

    # --- the transports ----------------------------------------------------------------

    async def dial(self, node: LiveSite) -> socket.socket:
        """Connect; the receive buffer must be set before that (tcp(7))."""
        sock = socket.socket()
        sock.setblocking(False)
        if self.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(
                sock, ("127.0.0.1", node.port)
            )
        except BaseException:
            sock.close()
            raise
        return sock

    async def websocket(self, node: LiveSite) -> AsyncGenerator[dict[str, Any]]:
        url = f"{node.ws_url}/feed/ws?{self.query()}"
        sock = await self.dial(node)
        async with connect(url, sock=sock, compression=None, proxy=None) as connection:
            try:
                while True:
                    await self.reading.wait()
                    yield json.loads(await connection.recv())
            except ConnectionClosed:
                self.close_codes.append(close_code(connection))

    async def sse(self, node: LiveSite) -> AsyncGenerator[dict[str, Any]]:
        sock = await self.dial(node)
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            writer.write(
                f"GET /feed/sse?{self.query()} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise OSError(head.decode())
            rest = b""
            async for chunk in self.chunks(reader):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])
        finally:
            writer.close()

    async def chunks(self, reader: asyncio.StreamReader) -> AsyncGenerator[bytes]:
        """Yield the body's chunks (RFC 9112 section 7.1), up to the last one."""
        while await self.reading.wait():
            size = int(await reader.readuntil(b"\r\n"), 16)
            if not size:
                return
            yield await reader.readexactly(size)
            await reader.readexactly(2)


def close_code(connection: ClientConnection) -> int:
    """Return the code of the server's close frame; 1006 if there was none."""
    return connection.close_code or 1006
