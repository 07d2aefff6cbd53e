"""The server connects to itself, however it is served, and to nothing else."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import Client

from echo.lab import loopback
from echo.lab.bounds import LabError, Slots
from echo.tests.lab.posting import Visitor
from echo.tests.live import LiveSite, SecureSite, wait_until
from echo.tests.servers.test_deployment import PlacedSite, UnixSite
from echo.tests.tcp import connections

SERVERS = ["daphne", "uvicorn"]
HANDSHAKE = (
    "GET /echo?handshake=1 HTTP/1.1\nHost: {host}\nUpgrade: websocket\nConnection: Upgrade\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n"
)
# The server's answer to the key of RFC 6455 section 1.3.
ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@contextmanager
def visitor_of(site: LiveSite, **options: Any) -> Iterator[Visitor]:
    with site:
        with Visitor(site, "/protocol/", **options) as visitor:
            yield visitor
        assert "Traceback" not in site.log, site.log


def assert_connects(visitor: Visitor, host: str) -> None:
    response = visitor.post("/protocol/handshake", request=HANDSHAKE.format(host=host))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["status"] == 101, answer
    assert ACCEPT in answer["head"]
    response = visitor.post("/protocol/updates", count=1)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("server", SERVERS)
def test_it_connects_over_plain_tcp(server: str, tmp_path: Path) -> None:
    site = LiveSite(server, tmp_path)
    with visitor_of(site) as visitor:
        assert_connects(visitor, f"127.0.0.1:{site.port}")


@pytest.mark.parametrize("server", SERVERS)
def test_it_connects_where_the_server_ends_tls(server: str, tmp_path: Path) -> None:
    site = SecureSite(server, tmp_path)
    with visitor_of(site) as visitor:
        assert_connects(visitor, f"127.0.0.1:{site.port}")


@pytest.mark.parametrize("server", SERVERS)
def test_it_connects_on_a_unix_socket(server: str, tmp_path: Path) -> None:
    site = UnixSite(server, tmp_path)
    transport = httpx.HTTPTransport(uds=str(site.path))
    with visitor_of(site, transport=transport) as visitor:
        assert_connects(visitor, "127.0.0.1")


@pytest.mark.parametrize("server", SERVERS)
def test_it_connects_below_a_root_path_behind_a_proxy(
    server: str, tmp_path: Path
) -> None:
    site = PlacedSite(server, tmp_path)
    headers = {"X-Forwarded-For": "192.0.2.7"}
    with visitor_of(site, headers=headers) as visitor:
        assert_connects(visitor, f"127.0.0.1:{site.port}")


def test_it_connects_in_each_of_several_workers(tmp_path: Path) -> None:
    site = LiveSite("uvicorn", tmp_path, ("--workers", "2"))
    with visitor_of(site, headers={"Connection": "close"}) as visitor:
        for _ in range(4):
            assert_connects(visitor, f"127.0.0.1:{site.port}")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_it_connects_with_every_loop_and_parser_of_uvicorn(
    loop: str, http: str, tmp_path: Path
) -> None:
    site = LiveSite("uvicorn", tmp_path, ("--loop", loop, "--http", http))
    with visitor_of(site) as visitor:
        assert_connects(visitor, f"127.0.0.1:{site.port}")


async def test_a_server_that_cannot_connect_to_itself_is_refused_with_the_remedy() -> (
    None
):
    with pytest.raises(LabError, match="start the site with") as refusal:
        async with loopback.connect({"type": "http", "headers": []}):
            pass
    assert refusal.value.status == 503


async def test_no_more_connections_are_opened_than_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loopback, "CONNECTIONS", Slots(1))
    async with loopback.plain_pair():
        with pytest.raises(LabError, match="at most 1") as refusal:
            async with loopback.plain_pair():
                pass
    assert refusal.value.status == 429
    async with loopback.plain_pair():
        pass


async def test_an_experiment_that_takes_too_long_is_ended() -> None:
    with pytest.raises(LabError, match=r"within 0\.01 s") as refusal:
        async with loopback.plain_pair(0.01) as (one, other):
            await other.recv()
    assert refusal.value.status == 504
    assert one.socket.fileno() == other.socket.fileno() == -1


async def test_neither_direction_carries_more_than_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loopback, "MAX_SENT_BYTES", 3)
    monkeypatch.setattr(loopback, "MAX_RECEIVED_BYTES", 2)
    async with loopback.plain_pair() as (one, other):
        await one.send(b"abc")
        with pytest.raises(LabError, match="at most 3 bytes"):
            await one.send(b"d")
        with pytest.raises(LabError, match="at most 2 bytes"):
            await other.recv()


async def test_a_stranger_who_finds_the_port_is_not_taken_for_the_other_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect
    strangers = []

    async def connect_second(client: socket.socket, address: Any) -> None:
        strangers.append(socket.create_connection(address))
        await connect(client, address)

    monkeypatch.setattr(loop, "sock_connect", connect_second)
    async with loopback.plain_pair() as (one, other):
        await one.send(b"hello")
        assert await other.recv() == b"hello"
    strangers[0].close()


@pytest.mark.parametrize("server", SERVERS)
def test_no_header_that_a_proxy_sets_is_believed(server: str, tmp_path: Path) -> None:
    """The site trusts a proxy on its own machine, and a visitor writes this request."""
    site = PlacedSite(server, tmp_path)
    with visitor_of(site) as visitor:
        request = "GET /echo HTTP/1.1\nHost: 127.0.0.1\nX-Forwarded-For: 192.0.2.7\n"
        response = visitor.post("/protocol/handshake", request=request)
        assert response.json()["status"] == 426
    assert "192.0.2.7" not in site.log


def open_files(site: LiveSite) -> int:
    assert site.process is not None
    return len(list(Path(f"/proc/{site.process.pid}/fd").iterdir()))


@pytest.mark.parametrize("server", SERVERS)
def test_both_ends_are_closed_when_the_visitor_goes(
    server: str, tmp_path: Path
) -> None:
    request = b"GET /endless HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    settings = "echo.tests.lab.endless"
    with LiveSite(server, tmp_path, DJANGO_SETTINGS_MODULE=settings) as site:
        # Else the connection that has shown it to be up may still be open.
        wait_until(lambda: not connections(site.port), "the site to be alone")
        before = open_files(site)
        visitors = []
        for _ in range(3):
            visitor = socket.create_connection(("127.0.0.1", site.port))
            visitor.sendall(request)
            visitors.append(visitor)
        # Each has three: the visitor's, and both ends of the connection to itself.
        wait_until(lambda: open_files(site) >= before + 9, "the experiments to run")
        for visitor in visitors:
            visitor.close()
        wait_until(lambda: open_files(site) <= before, "the connections to be closed")


def test_a_server_without_asgi_says_that_it_cannot(client: Client) -> None:
    settings = {"request": HANDSHAKE.format(host="testserver")}
    for path in ("handshake", "streams", "updates"):
        response = client.post(
            f"/protocol/{path}", settings, content_type="application/json"
        )
        assert response.status_code == 503
        assert "start the site with uvicorn" in response.json()["detail"]
