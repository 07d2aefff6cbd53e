"""A client that does not read cannot get a ``bye``: it is cut."""

import contextlib
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import pytest

from echo.protocol import CloseCode
from echo.tests.live import PATIENCE_SECONDS, wait_until
from echo.tests.tcp import bytes_unsent
from echo.tests.transports.adapters import HERE
from echo.tests.transports.conftest import FeedSite

# By transport; the key is RFC 6455's own (section 1.3).
REQUESTS = {
    "websocket": (
        "GET /feed/ws?topic={topic} HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    ),
    "sse": "GET /feed/sse?topic={topic} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}
EVENT = "x" * 60_000
EVENTS_AT_ONCE = 10
# 12 MB: more than the kernel keeps for a client, whatever the size to which it lets
# a socket's buffer grow (tcp(7), tcp_wmem).
TIMES = 20
# In so many requests answered one after the other, the server would have read the next
# page and written it.
STALL_REQUESTS = 20


def stalled(site: FeedSite, request: str) -> socket.socket:
    """A client that requests the feed and reads one byte only."""
    client = socket.socket()
    client.settimeout(PATIENCE_SECONDS)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before it connects
    client.connect((HERE, site.live.port))
    client.sendall(request.encode())
    client.recv(1)
    return client


def rest(client: socket.socket) -> bytes:
    """Return the bytes left in the kernel, up to the end or the reset."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(1 << 16):
            data += part
    return bytes(data)


def connections(site: FeedSite) -> int:
    return site.figure("/readyz", "connections")


def tasks(site: FeedSite) -> int:
    return site.figure("/tasks", "tasks")


@pytest.fixture
def tasks_before(feed_site: FeedSite) -> int:
    """The number of tasks with the node running and no connections."""
    wait_until(lambda: connections(feed_site) == 0, "earlier clients to be gone")
    assert feed_site.end("nobody", CloseCode.ASKED_TO_RECONNECT, "") == 0
    return tasks(feed_site)


@pytest.fixture
def clients(feed_site: FeedSite, topic: str) -> Iterator[dict[str, socket.socket]]:
    """A client of each transport for which more events exist than it reads."""
    with ExitStack() as stack:
        opened = {
            transport: stack.enter_context(
                stalled(feed_site, request.format(topic=topic))
            )
            for transport, request in REQUESTS.items()
        }
        wait_until(lambda: connections(feed_site) == len(opened), "both to subscribe")
        for _ in range(TIMES):
            feed_site.publish(topic, *[EVENT] * EVENTS_AT_ONCE)
        # Before that the server would still find room for a ``bye``.
        wait_until(Stall(feed_site, opened.values()), "the kernel to take no more")
        yield opened


class Stall:
    """True once the kernel has taken no more bytes for these clients for a while.

    The while is measured by what else the server has done, however slowly.
    """

    def __init__(self, site: FeedSite, clients: Iterable[socket.socket]) -> None:
        self.site = site
        # The server's port and the client's, of each connection.
        self.ports = [(c.getpeername()[1], c.getsockname()[1]) for c in clients]
        # How much waits for each client, and the requests answered since it changed.
        self.waiting: list[int] = []
        self.answered = 0

    def __call__(self) -> bool:
        waiting = [bytes_unsent(*ports) for ports in self.ports]
        if waiting != self.waiting:
            self.waiting, self.answered = waiting, 0
        connections(self.site)
        self.answered += 1
        return min(waiting) > 0 and self.answered > STALL_REQUESTS


def test_clients_that_do_not_read_are_cut_when_they_do_not_take_their_bye(
    feed_site: FeedSite,
    topic: str,
    tasks_before: int,
    clients: dict[str, socket.socket],
) -> None:
    code = CloseCode.DISCONNECTED_BY_OPERATOR
    assert feed_site.end(topic, code, "go away") == len(clients)
    assert connections(feed_site) == len(clients), "they had read, and were told to go"
    wait_until(lambda: connections(feed_site) == 0, "them to be cut")
    wait_until(lambda: tasks(feed_site) <= tasks_before, "their tasks to have ended")
    for client in clients.values():
        assert b"go away" not in rest(client)
