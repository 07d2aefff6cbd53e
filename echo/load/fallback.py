"""The load generator where load.c cannot run: without cc or Linux, and over TLS.

Does what generator.py does with the same methods, in Python, and so it is slower than fast
servers are: the figures are then the load's, and the checks hold all the same.
"""

import asyncio
import os
import time
from collections.abc import Coroutine
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.uri import WebSocketURI

from echo.load.errors import LoadError
from echo.load.generator import (
    AT_ONCE,
    SILENCE_SECONDS,
    Collected,
    Exchanged,
    Opened,
    resolve,
    url_of,
)

HEARTBEAT = b'{"type":"heartbeat"'


class PythonLoad:
    """Connections of asyncio, which run while one of these methods does. A context manager."""

    def __init__(self, silence_seconds: float = SILENCE_SECONDS) -> None:
        # When nothing has come for so long, the run has failed.
        self.silence_seconds = silence_seconds
        self.runner = asyncio.Runner()
        self.connections: list[ClientConnection] = []
        # How many events each of the first readers gets, and how many readers that are.
        self.events, self.readers = 0, 0
        # Reader n must get the same events as reader n % kinds.
        self.kinds, self.in_order = 1, True

    def __enter__(self) -> "PythonLoad":
        return self

    def __exit__(self, *exception: object) -> None:
        for connection in self.connections:
            connection.transport.abort()
        self.runner.close()

    @property
    def count(self) -> int:
        """Return how many connections are open."""
        return len(self.connections)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run the connections until the work is done. Raises LoadError."""
        try:
            return self.runner.run(work)
        except InvalidHandshake as error:
            body = getattr(getattr(error, "response", None), "body", b"") or b""
            reason = body[:480].decode(errors="replace")
            raise LoadError(
                f"expected 101 Switching Protocols, got: {error} {reason}"
            ) from None
        except TimeoutError:
            raise LoadError(
                f"connections wait, and nothing has come for {self.silence_seconds:g} s"
            ) from None
        except WebSocketException as error:
            raise LoadError(f"the server closed a connection: {error}") from None
        except OSError as error:
            raise LoadError(
                f"expected a server, got: {os.strerror(error.errno or 0)}: start it, or mend "
                "the address"
            ) from None

    # --- what the connections do -------------------------------------------------------

    def open(self, uri: WebSocketURI, count: int, *, greetings: int = 0) -> Opened:
        """Open more WebSockets, each until it has had its ``greetings``. Raises LoadError."""
        host = resolve(uri)
        began = time.monotonic()
        places = asyncio.Semaphore(AT_ONCE)

        async def open_one() -> ClientConnection:
            async with places:
                connection = await connect(
                    url_of(uri),
                    host=host,
                    compression=None,
                    max_size=None,
                    ping_interval=None,
                    open_timeout=self.silence_seconds,
                )
                for _ in range(greetings):
                    await self.receive(connection)
                return connection

        async def open_all() -> list[ClientConnection]:
            return await asyncio.gather(*(open_one() for _ in range(count)))

        self.connections += self.run(open_all())
        return Opened(time.monotonic() - began, 0)

    def expect(
        self,
        events: int,
        *,
        readers: int | None = None,
        kinds: int = 1,
        in_order: bool = True,
    ) -> None:
        """Expect so many events at each of the first readers (None: at all)."""
        self.events, self.kinds, self.in_order = events, kinds, in_order
        self.readers = self.count if readers is None else readers

    def collect(self) -> Collected:
        """Wait until all expected events are there, and compared. Raises LoadError."""
        last = 0.0

        async def collect_one(connection: ClientConnection) -> list[bytes]:
            nonlocal last
            events = [await self.receive(connection) for _ in range(self.events)]
            last = time.monotonic()
            return events if self.in_order else sorted(events)

        async def collect_all() -> list[list[bytes]]:
            readers = self.connections[: self.readers]
            return await asyncio.gather(*map(collect_one, readers))

        events = self.run(collect_all())
        for number, own in enumerate(events):
            if own != events[number % self.kinds]:
                raise LoadError(
                    f"connection {number} got other events than connection "
                    f"{number % self.kinds}, or in another order"
                )
        return Collected(last, events[: self.kinds])

    def echo(self, payload: bytes, seconds: float, *, text: bool = False) -> Exchanged:
        """Send a message on each connection, and the next after its echo. Raises LoadError."""
        began = time.monotonic()

        async def exchange(connection: ClientConnection) -> int:
            replies = 0
            while not replies or time.monotonic() < began + seconds:
                await connection.send(payload, text=text)
                if (reply := await self.receive(connection)) != payload:
                    raise LoadError(
                        f"expected the echo of {len(payload)} bytes, got {len(reply)} "
                        f"bytes: {reply[:120].decode(errors='replace')}"
                    )
                replies += 1
            return replies

        async def exchange_all() -> int:
            return sum(await asyncio.gather(*map(exchange, self.connections)))

        return Exchanged(self.run(exchange_all()), time.monotonic() - began)

    async def receive(self, connection: ClientConnection) -> bytes:
        """Return the next message that is no heartbeat."""
        async with asyncio.timeout(self.silence_seconds):
            while True:
                message = await connection.recv(decode=False)
                if not message.startswith(HEARTBEAT):
                    return bytes(message)
