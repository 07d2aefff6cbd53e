"""The same site on a Unix socket, below a root path, and for clients of HTTP/1.0."""

import contextlib
import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from echo.tests.live import PATIENCE_SECONDS, LiveSite
from echo.tests.servers.frames import Opcode, close, encode

DAPHNE = [sys.executable, "-m", "echo.servers"]
UVICORN = [sys.executable, "-m", "uvicorn"]
APPLICATION = "wsdemo.asgi:application"
HANDSHAKE = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LAST = b"Host: localhost\r\nConnection: close\r\n\r\n"
CLOSE_FRAME = encode(Opcode.CLOSE, close(1000).payload)


class UnixSite(LiveSite):
    """A site that listens on a Unix socket."""

    def __init__(self, server: str, directory: Path) -> None:
        super().__init__(server, directory)
        # A Unix socket's path has at most 107 characters: pytest's own are too long.
        self.path = Path(tempfile.mkdtemp(prefix="site-")) / "socket"
        start = [*DAPHNE, "-u"] if server == "daphne" else [*UVICORN, "--uds"]
        self.command = [*start, str(self.path), APPLICATION]

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.server} has died:\n{self.log}"
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(self.path))
        except OSError:
            connection.close()
            raise
        return connection


class PlacedSite(LiveSite):
    """A site below /app, behind a proxy."""

    def __init__(self, server: str, directory: Path) -> None:
        super().__init__(server, directory)
        start = DAPHNE if server == "daphne" else UVICORN
        port = ["--port", str(self.port)]
        self.command = [*start, *port, "--root-path", "/app"]
        self.command += ["--proxy-headers", APPLICATION]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS)


SITES: dict[str, type[UnixSite] | type[PlacedSite]] = {
    "unix": UnixSite,
    "placed": PlacedSite,
}


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def running(kind: str, server: str, directory: Path) -> Iterator[UnixSite | PlacedSite]:
    live = SITES[kind](server, directory)
    with live:
        yield live
    assert "Traceback" not in live.log, live.log
    assert "ERROR" not in live.log, live.log


@pytest.fixture(scope="module")
def unix_site(
    server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UnixSite | PlacedSite]:
    with running("unix", server, tmp_path_factory.mktemp("unix")) as live:
        yield live


@pytest.fixture(scope="module")
def placed_site(
    server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UnixSite | PlacedSite]:
    with running("placed", server, tmp_path_factory.mktemp("placed")) as live:
        yield live


def ask(site: UnixSite | PlacedSite, request: bytes) -> tuple[int, bytes]:
    """Send a request, and return the status and all that follows the head."""
    with site.connect() as connection:
        connection.sendall(request)
        data = b""
        while received := connection.recv(65536):
            data += received
    head, _, rest = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), rest


def test_a_websocket_opens_over_a_unix_socket(unix_site: UnixSite) -> None:
    request = b"GET /echo HTTP/1.1\r\n" + HANDSHAKE
    status, rest = ask(unix_site, request + encode(Opcode.TEXT, b"hi") + CLOSE_FRAME)
    assert (status, rest) == (101, b"\x81\x02hi\x88\x02\x03\xe8")


def test_a_handshake_over_a_unix_socket_is_refused_with_a_reason(
    unix_site: UnixSite,
) -> None:
    status, body = ask(unix_site, b"GET /nowhere HTTP/1.1\r\n" + HANDSHAKE)
    assert status == 404
    assert "/nowhere" in json.loads(body)["detail"]


def test_the_feed_is_read_over_a_unix_socket(unix_site: UnixSite) -> None:
    request = b"GET /feed/poll?since=earliest HTTP/1.1\r\n" + LAST
    status, body = ask(unix_site, request)
    assert status == 200
    assert json.loads(body)["events"] == []


@pytest.mark.parametrize("path", ["hello", "feed/poll", "echo", "nowhere", "apple"])
def test_a_path_outside_the_root_path_is_taken_for_one_below_it(
    placed_site: PlacedSite, path: str
) -> None:
    expected = {"hello": 200, "feed/poll": 200, "echo": 426}.get(path, 404)
    request = b"GET /" + path.encode() + b" HTTP/1.1\r\n" + LAST
    assert ask(placed_site, request)[0] == expected


def test_a_handshake_outside_the_root_path_is_answered(
    placed_site: PlacedSite,
) -> None:
    request = b"GET /echo HTTP/1.1\r\n" + HANDSHAKE + CLOSE_FRAME
    assert ask(placed_site, request)[0] == 101
    status, body = ask(placed_site, b"GET /nowhere HTTP/1.1\r\n" + HANDSHAKE)
    assert (status, json.loads(body)["status_code"]) == (404, 404)


def test_a_client_of_http_1_0_gets_a_stream_without_chunks(
    unix_site: UnixSite,
) -> None:
    request = b"GET /feed/sse HTTP/1.0\r\nHost: localhost\r\n\r\n"
    with unix_site.connect() as connection:
        connection.sendall(request)
        data = b""
        while b'"type":"hello"' not in data:
            received = connection.recv(65536)
            assert received, data
            data += received
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body.startswith(b"retry: ")


def test_a_client_of_http_1_0_gets_no_100(unix_site: UnixSite) -> None:
    request = b"POST /anything HTTP/1.0\r\nHost: localhost\r\n"
    body = b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
    assert ask(unix_site, request + body)[0] == 200


@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-forwarded-proto"])
@pytest.mark.parametrize("rest", [LAST, HANDSHAKE], ids=["request", "handshake"])
def test_a_forwarded_address_that_is_not_ascii_is_refused(
    placed_site: PlacedSite, name: str, rest: bytes
) -> None:
    forwarded = b"X-Forwarded-For: 1.2.3.4\r\n" + name.encode() + b": \xff\xfe\r\n"
    status, body = ask(placed_site, b"GET /echo HTTP/1.1\r\n" + forwarded + rest)
    assert status == 400
    assert name.title() in json.loads(body)["detail"]
