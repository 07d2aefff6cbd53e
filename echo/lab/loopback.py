"""Connects the server to itself, and to nothing else: raw bytes for the experiments.

No address is needed, from a visitor or from the settings: both ends of a TCP connection are
made here, and one is given to the running server, which serves it like any other client's.
So it works behind a proxy, on a Unix socket, and where the server itself ends TLS, which
this connection is without. It is always this process that answers.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from django.utils.translation import gettext as _

from echo.handshake import header
from echo.lab.bounds import LabError, Slots
from echo.protocol import ADOPT_EXTENSION

LOOPBACK = "127.0.0.1"
# The bounds of one connection.
MAX_SENT_BYTES = 4 * 1024 * 1024
MAX_RECEIVED_BYTES = 4 * 1024 * 1024
MAX_SECONDS = 20.0
# The most connections of this kind in a process.
CONNECTIONS = Slots(50)
# How much one `recv` takes at most.
RECEIVE_BYTES = 64 * 1024

# The key of RFC 6455 section 1.3: the server's answer to it can be looked up there.
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="

# Close, 1000, with a masking key of zeros (RFC 6455 section 5.5.1).
CLOSE_FRAME = b"\x88\x82\x00\x00\x00\x00\x03\xe8"
# How long a response may take to begin, and then to go on.
QUIET_SECONDS = 5.0
HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"(?im)^content-length: *([0-9]+)\r$")

# Why reading has ended: the server closed or reset the connection, has sent nothing for a
# while, or has sent what was waited for.
Ending = Literal["closed", "reset", "quiet", "complete"]


@dataclass(frozen=True, slots=True)
class Received:
    """What has arrived, and why reading ended."""

    data: bytes
    ending: Ending


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response as it arrived."""

    head: bytes  # with the empty line that ends it
    body: bytes
    ending: Ending

    @property
    def status(self) -> int:
        """The status code; 0 if there is none."""
        status = self.head[9:12]
        return int(status) if status.isdigit() else 0


class Connection:
    """One end of a TCP connection, with nothing between its user and the socket."""

    def __init__(self, connection: socket.socket, host: str = "") -> None:
        self.socket = connection  # non-blocking
        self.host = host  # the Host that the visitor has sent; none for plain TCP
        self.sent_bytes = 0  # so far
        self.received_bytes = 0  # so far

    async def send(self, data: bytes) -> None:
        """Write the bytes as they are. Raises LabError over the bound, OSError if it is closed."""
        if self.sent_bytes + len(data) > MAX_SENT_BYTES:
            raise too_much(MAX_SENT_BYTES)
        self.sent_bytes += len(data)
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def recv(self, size: int = RECEIVE_BYTES) -> bytes:
        """Return what one ``recv`` gives; b"" at the end. Raises LabError and OSError."""
        data = await asyncio.get_running_loop().sock_recv(self.socket, size)
        self.received_bytes += len(data)
        if self.received_bytes > MAX_RECEIVED_BYTES:
            raise too_much(MAX_RECEIVED_BYTES)
        return data

    async def receive(self, quiet_seconds: float) -> Received:
        """Return what arrives until the end of the stream, or until silence."""
        return await self.receive_until(lambda data: False, quiet_seconds)

    async def receive_until(
        self, is_complete: Callable[[bytearray], bool], quiet_seconds: float
    ) -> Received:
        """Return what arrives until it is complete, until the end, or until silence."""
        data = bytearray()
        try:
            while not is_complete(data):
                async with asyncio.timeout(quiet_seconds):
                    received = await self.recv()
                if not received:
                    return Received(bytes(data), "closed")
                data += received
        except TimeoutError:
            return Received(bytes(data), "quiet")
        except OSError:
            return Received(bytes(data), "reset")
        return Received(bytes(data), "complete")

    async def receive_response(self, quiet_seconds: float = QUIET_SECONDS) -> Response:
        """Return the response to a request; one without a length ends with the stream."""
        received = await self.receive_until(is_whole_response, quiet_seconds)
        head, end, body = received.data.partition(HEAD_END)
        return Response(head + end, body, received.ending)


def is_whole_response(data: bytearray) -> bool:
    """Return True if these bytes have a whole head, and the body that it announces."""
    end = data.find(HEAD_END)
    if end < 0:
        return False
    if data.startswith(b"HTTP/1.1 101 "):
        return True
    length = CONTENT_LENGTH.search(data, 0, end + 2)
    return length is not None and len(data) - end - 4 >= int(length[1])


def too_much(limit: int) -> LabError:
    return LabError(
        _("expected at most %(bytes)s bytes in one direction, got more")
        % {"bytes": limit},
        413,
    )


def too_slow(seconds: float) -> LabError:
    return LabError(
        _("expected the experiment to end within %(seconds)s s")
        % {"seconds": f"{seconds:g}"},
        504,
    )


async def connected_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new TCP connection on loopback, both non-blocking."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    try:
        with socket.create_server((LOOPBACK, 0)) as listener:
            listener.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            while True:
                server, address = await loop.sock_accept(listener)
                if address == client.getsockname():
                    for end in (client, server):
                        end.setblocking(False)
                        # What is written goes out at once.
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return client, server
                server.close()  # somebody else on this machine has found the port
    except BaseException:
        client.close()
        raise


@asynccontextmanager
async def connect(
    scope: Any, seconds: float = MAX_SECONDS
) -> AsyncIterator[Connection]:
    """Connect the server of a request to itself while the block lasts.

    ``scope`` is the request's. Raises LabError if the server cannot, if as many connections
    are open as may be, and if the block takes longer than the seconds.
    """
    adopt = scope.get("extensions", {}).get(ADOPT_EXTENSION)
    if adopt is None:
        raise LabError(
            _(
                "expected a server that can connect to itself: start the site with "
                "uvicorn, manage.py runserver, or python -m echo.servers"
            ),
            503,
        )
    host = header(scope["headers"], b"host") or ""
    async with bounded(seconds):
        client, server = await connected_pair()
        with client:
            await adopt(server)
            yield Connection(client, host)


@asynccontextmanager
async def plain_pair(
    seconds: float = MAX_SECONDS,
) -> AsyncIterator[tuple[Connection, Connection]]:
    """Open a TCP connection without a server, of which the block has both ends."""
    async with bounded(seconds):
        one, other = await connected_pair()
        with one, other:
            yield Connection(one), Connection(other)


@asynccontextmanager
async def bounded(seconds: float) -> AsyncIterator[None]:
    """Count a connection, and bound its time. Raises LabError if it fails or is too late."""
    with CONNECTIONS.slot():
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise too_slow(seconds) from None
        except (OSError, EOFError) as error:
            raise LabError(
                _("the server ended the connection before the experiment: %(error)s")
                % {"error": error},
                502,
            ) from None


def handshake(host: str, target: str = "/echo", key: str = SAMPLE_KEY) -> bytes:
    """Return the shortest valid request for a WebSocket (RFC 6455 section 4.1)."""
    return (
        f"GET {target} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    ).encode("latin-1")


async def open_websocket(connection: Connection, request: bytes = b"") -> Response:
    """Send a request for a WebSocket, by default to the echo; return the response.

    Its body has the frames that have come with the head: the echo sends none unasked. Raises
    LabError unless the status is 101.
    """
    await connection.send(request or handshake(connection.host))
    response = await connection.receive_response()
    if response.status != 101:
        status_line = response.head.partition(b"\r\n")[0].decode("latin-1")
        raise LabError(
            _("expected the server to open a WebSocket, got %(got)s")
            % {"got": status_line or response.ending},
            503,
        )
    return response
