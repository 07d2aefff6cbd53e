"""Sends updates there and back over HTTP and over a WebSocket, and counts what they cost.

Raw bytes to this site itself, one update after the other. The requests have the headers
that a browser sends; the responses are the site's own.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.translation import gettext as _
from websockets.frames import Frame, Opcode

from echo.client.frames import FrameParser
from echo.lab import loopback
from echo.lab.bounds import LabError, Slots, address_of, whole_number
from echo.lab.loopback import Connection

MAX_UPDATES = 100
MAX_UPDATE_BYTES = 4096
# Of each of the three ways.
MAX_SECONDS = 20.0
RUNNING = Slots(5, per_address=2)
PATH = "/protocol/update"

# What Chromium 140 on Linux sends with each `fetch` of a page, and with each handshake. No
# cookie, which would come on top.
COMMON_HEADERS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9",
)
FETCH_HEADERS = (
    *COMMON_HEADERS,
    'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "Accept: */*",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Dest: empty",
    "Content-Type: application/octet-stream",
)
HANDSHAKE_HEADERS = (
    *COMMON_HEADERS,
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {loopback.SAMPLE_KEY}",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
)


@dataclass(slots=True)
class Cost:
    """What the updates have cost one way."""

    connections: int = 0
    # How often one side has waited for the other, the opening of TCP included.
    round_trips: int = 0
    sent_bytes: int = 0  # with all headers
    received_bytes: int = 0  # with all headers
    milliseconds: float = 0  # on loopback, where the network takes no time

    def add(self, connection: Connection, round_trips: int) -> None:
        """Add a connection that is over; its own opening is one more round trip."""
        self.connections += 1
        self.round_trips += 1 + round_trips
        self.sent_bytes += connection.sent_bytes
        self.received_bytes += connection.received_bytes


async def compare(scope: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Send the updates in three ways, and return what each costs. Raises LabError."""
    count = whole_number(settings, "count", 1, MAX_UPDATES, MAX_UPDATES)
    size = whole_number(settings, "size", 0, MAX_UPDATE_BYTES, 32)
    update = b"u" * size
    ways = {
        "new_connections": over_new_connections,
        "keep_alive": over_one_connection,
        "websocket": over_websocket,
    }
    costs = {}
    with RUNNING.slot(address_of(scope)):
        for name, send in ways.items():
            began = time.perf_counter()
            try:
                async with asyncio.timeout(MAX_SECONDS):
                    cost = await send(scope, count, update)
            except TimeoutError:
                raise loopback.too_slow(MAX_SECONDS) from None
            cost.milliseconds = round(1000 * (time.perf_counter() - began), 1)
            costs[name] = asdict(cost)
    return {"count": count, "size": size, "costs": costs}


async def over_new_connections(scope: Any, count: int, update: bytes) -> Cost:
    """Open a connection for each update."""
    cost = Cost()
    for _number in range(count):
        async with loopback.connect(scope) as connection:
            await ask(connection, update, "close")
            cost.add(connection, 1)
    return cost


async def over_one_connection(scope: Any, count: int, update: bytes) -> Cost:
    """Send all updates over one connection, which is kept alive."""
    cost = Cost()
    async with loopback.connect(scope) as connection:
        for _number in range(count):
            await ask(connection, update, "keep-alive")
        cost.add(connection, count)
    return cost


async def over_websocket(scope: Any, count: int, update: bytes) -> Cost:
    """Send all updates over one WebSocket: the handshake, a frame for each, the close."""
    cost = Cost()
    frame = Frame(Opcode.BINARY, update).serialize(mask=True)
    async with loopback.connect(scope) as connection:
        request = head("GET /echo", connection.host, "Upgrade", HANDSHAKE_HEADERS)
        await loopback.open_websocket(connection, request)
        parser = FrameParser()
        for _number in range(count):
            await connection.send(frame)
            await next_frame(connection, parser, update)
        await connection.send(loopback.CLOSE_FRAME)
        await next_frame(connection, parser, loopback.CLOSE_FRAME[-2:])
        cost.add(connection, 1 + count + 1)
    return cost


async def ask(connection: Connection, update: bytes, option: str) -> None:
    """Send an update as a request, and read the response. Raises LabError for another."""
    length = f"Content-Length: {len(update)}"
    request = head(f"POST {PATH}", connection.host, option, (*FETCH_HEADERS, length))
    await connection.send(request + update)
    response = await connection.receive_response()
    if response.body != update:
        raise unexpected(response.head[:40])


async def next_frame(
    connection: Connection, parser: FrameParser, expected: bytes
) -> None:
    """Read the next frame. Raises LabError unless it has the payload."""
    while not (frames := parser.feed(data := await connection.recv())):
        if not data:
            raise EOFError("the end of the stream")
    if [frame.payload for frame in frames] != [expected]:
        raise unexpected(frames[0].payload[:40])


def head(line: str, host: str, option: str, headers: tuple[str, ...]) -> bytes:
    """Return a request's head, as this site's own page would send it."""
    common = (f"Host: {host}", f"Connection: {option}", f"Origin: http://{host}")
    lines = (f"{line} HTTP/1.1", *common, *headers, "", "")
    return "\r\n".join(lines).encode("latin-1")


def unexpected(got: bytes) -> LabError:
    return LabError(
        _("expected the update to come back, got %(got)s") % {"got": str(got)[1:]}, 502
    )
