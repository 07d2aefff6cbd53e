"""A storm of connections waits in the kernel, and none is turned away there.

The server is stopped (SIGSTOP) while they arrive, as if it were busy: what the kernel does
not keep then, it drops, and the client tries again a second later.
"""

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from echo.servers.daphne import BACKLOG, with_backlog
from echo.tests.live import COMMANDS, PATIENCE_SECONDS, LiveSite, SecureSite
from echo.tests.servers.test_deployment import UnixSite

# Far more than Twisted's own 50; the kernel allows no more than somaxconn.
STORM = min(500, int(Path("/proc/sys/net/core/somaxconn").read_text()))
REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

SITES: dict[str, type[LiveSite]] = {
    "tcp": LiveSite,
    "tls": SecureSite,
    "unix": UnixSite,
}


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SITES)
def stopped_site(
    request: pytest.FixtureRequest, server: str, tmp_path: Path
) -> Iterator[LiveSite]:
    site = SITES[request.param](server, tmp_path)
    # The last of the storm sends its request when all others have been answered.
    site.environment["HEAD_TIMEOUT_SECONDS"] = "600"
    with site:
        assert site.process is not None
        site.process.send_signal(signal.SIGSTOP)
        yield site
        site.process.send_signal(signal.SIGCONT)


def start_connecting(site: LiveSite) -> socket.socket:
    """Return a socket that is being connected. Raises BlockingIOError if it is refused."""
    address: Any = ("127.0.0.1", site.port)
    family = socket.AF_INET
    if isinstance(site, UnixSite):
        address, family = str(site.path), socket.AF_UNIX
    connection = socket.socket(family)
    connection.setblocking(False)
    try:
        connection.connect(address)
    except BlockingIOError:
        if family == socket.AF_UNIX:  # the backlog is full; over TCP it is on its way
            connection.close()
            raise
    return connection


def count_connected(connections: list[socket.socket], seconds: float) -> int:
    """Return how many connections the kernel has established within the time."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLOUT)
    waiting = len(connections)
    while waiting and (ready := poll.poll(seconds * 1000)):
        for number, _ in ready:
            poll.unregister(number)
        waiting -= len(ready)
    return len(connections) - waiting


def wrap(site: LiveSite, connection: socket.socket) -> socket.socket:
    """Return a connected socket that blocks, and that uses TLS if the site does."""
    connection.settimeout(PATIENCE_SECONDS)
    if site.tls is None:
        return connection
    return site.tls.wrap_socket(connection, server_hostname="127.0.0.1")


def test_a_storm_of_connections_is_established_while_the_server_is_busy(
    stopped_site: LiveSite,
) -> None:
    with ExitStack() as stack:
        storm = [
            stack.enter_context(start_connecting(stopped_site)) for _ in range(STORM)
        ]
        assert count_connected(storm, seconds=5) == STORM
        assert stopped_site.process is not None
        stopped_site.process.send_signal(signal.SIGCONT)
        for connection in storm:
            with wrap(stopped_site, connection) as client:
                client.sendall(REQUEST)
                assert client.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:8000:backlog=7",
        "tcp:8000:127.0.0.1:7",
        "unix:/tmp/socket:mode=660:backlog=7",
        "unix:/tmp/socket:660:7",
        "ssl:443:privateKey=key.pem:backlog=7",
        "haproxy:tcp:8000:backlog=7",
        "systemd:domain=INET:index=0",
        "fd:fileno=3",
    ],
)
def test_an_endpoint_that_names_its_backlog_or_has_none_stays(endpoint: str) -> None:
    assert with_backlog(endpoint) == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:port=8000:interface=127.0.0.1",
        r"tcp:port=8000:interface=\:\:1",
        "tcp:8000:127.0.0.1",
        "unix:/tmp/socket",
        "ssl:443:key.pem:cert.pem",
        "haproxy:tcp:8000",
    ],
)
def test_any_other_endpoint_gets_a_long_backlog(endpoint: str) -> None:
    assert with_backlog(endpoint) == f"{endpoint}:backlog={BACKLOG}"
