"""A client without pongs is closed and then cut; a slow reader is not."""

import contextlib
import sys
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from echo.tests.live import PATIENCE_SECONDS, LiveSite, wait_until
from echo.tests.servers.frames import Connection, Opcode, close, encode, text
from echo.tests.servers.test_stalled import connections, write_until_stalled

APPLICATION = "echo.tests.servers.brief:application"
PING_SECONDS = 1
COMMANDS = {
    "daphne": [
        *("echo.servers", "-p", "{port}"),
        *("--ping-interval", str(PING_SECONDS), "--ping-timeout", str(PING_SECONDS)),
        APPLICATION,
    ],
    "uvicorn": [
        *("uvicorn", "--port", "{port}"),
        *("--ws-ping-interval", str(PING_SECONDS)),
        *("--ws-ping-timeout", str(PING_SECONDS)),
        APPLICATION,
    ],
}


@pytest.fixture(scope="module", params=COMMANDS)
def pinging_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """A site with short keepalive intervals and timeouts."""
    site = LiveSite(
        request.param, tmp_path_factory.mktemp(request.param), ECHO_LOG_MESSAGES="off"
    )
    arguments = [part.format(port=site.port) for part in COMMANDS[request.param]]
    site.command = [sys.executable, "-m", *arguments]
    with site:
        yield site
    assert "Traceback" not in site.log, site.log


def wait_until_cut(site: LiveSite) -> None:
    wait_until(lambda: connections(site.port) == 0, "the connection to be cut")


@pytest.mark.parametrize("sent", [b"", encode(Opcode.TEXT, b"x", fin=False), b"\x81"])
def test_a_client_that_answers_no_ping_is_closed_1011_and_cut(
    pinging_site: LiveSite, sent: bytes
) -> None:
    with Connection(pinging_site.port) as connection:
        connection.send(sent)
        assert connection.frame().opcode is not None
        frame = connection.frame()
        assert frame.payload[:2] == close(1011).payload, frame
        wait_until_cut(pinging_site)


def test_a_client_that_answers_pings_stays(pinging_site: LiveSite) -> None:
    with Connection(pinging_site.port) as connection:
        for _ in range(3):
            ping = connection.frame()
            assert ping.opcode == Opcode.PING
            connection.send_frame(Opcode.PONG, ping.payload)
        connection.send_frame(Opcode.TEXT, b"still here")
        assert connection.frame() == text("still here")


def test_a_client_that_stops_reading_for_a_while_is_not_closed(
    pinging_site: LiveSite,
) -> None:
    """The server does not read from it, so it cannot see a pong."""
    with Connection(pinging_site.port) as connection:
        numbers = [n.to_bytes(4, "big") * 16_384 for n in range(512)]
        data = b"".join(encode(Opcode.BINARY, number) for number in numbers)
        sent = write_until_stalled(connection.socket, data)
        time.sleep(5 * PING_SECONDS)
        echoes: list[int] = []
        whole = sent // len(encode(Opcode.BINARY, numbers[0]))
        while len(echoes) < whole:
            frame = connection.frame()
            if frame.opcode == Opcode.PING:
                connection.send_frame(Opcode.PONG, frame.payload)
            else:
                assert frame.opcode == Opcode.BINARY, frame
                echoes.append(int.from_bytes(frame.payload[:4], "big"))
        assert all((a + 1) % 512 == b for a, b in pairwise(echoes))


def test_a_client_that_does_not_answer_a_close_is_cut(pinging_site: LiveSite) -> None:
    target = "/echo?close_after=1&close_code=4000"
    with Connection(pinging_site.port, target) as connection:
        connection.send_frame(Opcode.TEXT, b"last")
        assert [connection.frame(), connection.frame()] == [text("last"), close(4000)]
        wait_until_cut(pinging_site)


def test_a_client_that_goes_on_sending_after_a_close_is_cut(
    pinging_site: LiveSite,
) -> None:
    target = "/echo?close_after=1&close_code=4000"
    with Connection(pinging_site.port, target) as connection:
        connection.send_frame(Opcode.TEXT, b"last")
        assert [connection.frame(), connection.frame()] == [text("last"), close(4000)]
        until = time.monotonic() + PATIENCE_SECONDS
        with contextlib.suppress(OSError):
            while time.monotonic() < until:
                connection.send_frame(Opcode.BINARY, bytes(64 * 1024))
        assert time.monotonic() < until
        wait_until_cut(pinging_site)
