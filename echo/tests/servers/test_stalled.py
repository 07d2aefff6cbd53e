"""A client that does not read is cut; one that reads slowly is not."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from echo.tests.live import COMMANDS, PATIENCE_SECONDS, LiveSite, wait_until
from echo.tests.servers.frames import Connection, Opcode, encode
from echo.tests.tcp import connections

WRITE_TIMEOUT_SECONDS = 2.0
CLIENTS = 20
EVENTS = 200
# More than kernels keep for a socket, with what the servers keep.
WAITING_BYTES = 16 * 1024 * 1024
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
HTTP_TARGETS = {
    "the feed's WebSocket": ("/feed/ws?since=earliest", UPGRADE),
    "the feed's event stream": ("/feed/sse?since=earliest", ""),
    "answers to polls": ("/feed/poll?since=earliest", ""),
}


@pytest.fixture(scope="module", params=COMMANDS)
def impatient_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """A site with a short write timeout, and a log larger than the socket buffers."""
    with LiveSite(
        request.param,
        tmp_path_factory.mktemp(request.param),
        WRITE_TIMEOUT_SECONDS=str(WRITE_TIMEOUT_SECONDS),
        ECHO_LOG_MESSAGES="off",
    ) as site:
        site.manage("shell", "-v0", "-c", PUBLISH)
        yield site
    assert "Traceback" not in site.log, site.log
    assert "ERROR" not in site.log, site.log


PUBLISH = f"""
from echo.feed import publish_many
publish_many([{{"topic": "news", "data": "x" * 60_000}}] * {EVENTS})
"""


def small_socket(port: int) -> socket.socket:
    """Return a connected socket with a small receive buffer."""
    client = socket.socket()
    client.settimeout(PATIENCE_SECONDS)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before it connects
    client.connect(("127.0.0.1", port))
    return client


def write_until_stalled(client: socket.socket, data: bytes) -> int:
    """Send the data repeatedly until the server stops reading; return the bytes sent."""
    sent = 0
    client.setblocking(False)
    while select.select([], [client], [], 0.5)[1]:
        sent += client.send(data[sent % len(data) :])
        assert sent < 4 * WAITING_BYTES
    client.settimeout(PATIENCE_SECONDS)
    return sent


def cut(site: LiveSite) -> bool:
    return connections(site.port) == 0


def test_unread_echoes_cut_the_connection(impatient_site: LiveSite) -> None:
    frames = encode(Opcode.BINARY, bytes(64 * 1024)) * 8
    with ExitStack() as stack:
        clients = [Connection(impatient_site.port) for _ in range(CLIENTS)]
        for client in clients:
            stack.enter_context(client)
            client.socket.setblocking(False)
        until = time.monotonic() + 1
        while time.monotonic() < until:  # each is at a frame's start or anywhere
            for writable in select.select([], [c.socket for c in clients], [], 0.1)[1]:
                with contextlib.suppress(OSError):
                    writable.send(frames)
        wait_until(lambda: cut(impatient_site), "all to be cut")
    assert impatient_site.get("/healthz").is_success


@pytest.mark.parametrize("target", HTTP_TARGETS.values(), ids=HTTP_TARGETS)
def test_unread_events_cut_the_connection(
    impatient_site: LiveSite, target: tuple[str, str]
) -> None:
    path, headers = target
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()
    with small_socket(impatient_site.port) as client:
        client.sendall(request * (1 if headers or "sse" in path else 60))
        client.recv(1)
        assert connections(impatient_site.port) > 0
        wait_until(lambda: cut(impatient_site), "it to be cut")
    wait_until(
        lambda: impatient_site.get("/readyz").json()["connections"] == 0,
        "its subscription to be over",
    )


def test_a_close_that_waits_to_be_read_cuts_the_connection(
    impatient_site: LiveSite,
) -> None:
    with small_socket(impatient_site.port) as client:
        client.sendall(
            f"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n{UPGRADE}\r\n".encode()
        )
        client.recv(1)
        message = encode(Opcode.BINARY, bytes(1024 * 1024))
        client.setblocking(False)
        sent = 0
        # A close as soon as the server has more than the kernel takes of its echoes.
        while select.select([], [client], [], 0.5)[1] and sent < 3 * len(message):
            sent += client.send(message[sent % len(message) :])
        client.settimeout(PATIENCE_SECONDS)
        with contextlib.suppress(OSError):
            client.sendall(
                message[sent % len(message) :] + encode(Opcode.CLOSE, b"\x03\xe8")
            )
        wait_until(lambda: cut(impatient_site), "it to be cut")


def test_a_client_that_reads_slowly_is_not_cut(impatient_site: LiveSite) -> None:
    """For three times the timeout, it reads more slowly than the server could write."""
    with small_socket(impatient_site.port) as client:
        client.sendall(
            f"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n{UPGRADE}\r\n".encode()
        )
        client.recv(1)
        write_until_stalled(client, encode(Opcode.BINARY, bytes(64 * 1024)))
        until = time.monotonic() + 3 * WRITE_TIMEOUT_SECONDS
        while time.monotonic() < until:
            assert client.recv(8 * 1024)
            time.sleep(0.2)
        assert connections(impatient_site.port) > 0
