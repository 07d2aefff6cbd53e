"""What an application may write at once: whole frames and parts of a body, in order."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from echo.tests.live import LiveSite, wait_until
from echo.tests.servers.applications import COMMANDS, serve
from echo.tests.servers.frames import Connection, Opcode, close, text
from echo.tests.servers.writing import MOST_WRITES
from echo.tests.tcp import bytes_unsent

APPLICATION = "echo.tests.servers.writing:application"


@pytest.fixture(params=COMMANDS, scope="module")
def writing_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    with serve(APPLICATION, request.param, tmp_path_factory.mktemp("site")) as site:
        yield site


def test_frames_are_written_between_those_that_are_sent(writing_site: LiveSite) -> None:
    with Connection(writing_site.port) as connection:
        for _ in range(2):
            connection.send_frame(Opcode.PING, b"p")
            connection.send_frame(Opcode.TEXT, b"three")
            frames = [connection.frame() for _ in range(5)]
            assert [frame.opcode for frame in frames].count(Opcode.PONG) == 1
            shown = [frame for frame in frames if frame.opcode == Opcode.TEXT]
            assert shown == [text("0"), text("1"), text("2"), text("True")]


def test_nothing_is_written_once_the_buffer_is_full(writing_site: LiveSite) -> None:
    with Connection(writing_site.port) as connection:
        connection.send_frame(Opcode.TEXT, b"fill")
        port, client_port = writing_site.port, connection.socket.getsockname()[1]
        wait_until(lambda: bytes_unsent(port, client_port), "the buffers to fill")
        with Connection(port):
            pass  # its handshake is answered after the writes
        written = 0
        while len((frame := connection.frame()).payload) == 60_000:
            written += 1
        assert frame == text(str(written))
        assert 0 < written < MOST_WRITES
        # There is room again.
        connection.send_frame(Opcode.TEXT, b"three")
        shown = [connection.frame() for _ in range(4)]
        assert shown == [text("0"), text("1"), text("2"), text("True")]


def test_nothing_is_written_after_a_close(writing_site: LiveSite) -> None:
    with Connection(writing_site.port) as connection:
        connection.send_frame(Opcode.TEXT, b"close")
        assert connection.frame() == close(1000)
        connection.send_frame(Opcode.CLOSE, close(1000).payload)
        assert connection.rest() == []


def test_parts_of_a_body_are_written_in_order(writing_site: LiveSite) -> None:
    assert httpx.get(writing_site.url).text == "False one two three"


def test_a_client_of_http_1_0_gets_the_same_body(writing_site: LiveSite) -> None:
    with socket.create_connection(("127.0.0.1", writing_site.port), 20) as client:
        client.sendall(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.endswith(b"\r\n\r\nFalse one two three")
