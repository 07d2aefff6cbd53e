"""A client without pongs is closed and then cut; a slow reader is not."""

import contextlib
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from echo.tests.live import PATIENCE_SECONDS, LiveSite, wait_until
from echo.tests.servers.frames import Connection, Frame, Opcode, close, encode, text
from echo.tests.servers.test_stalled import write_until_stalled
from echo.tests.tcp import connections

APPLICATION = "echo.tests.servers.brief:application"
PING_SECONDS = 1
# For clients that answer: a busy machine may take its time for a pong.
PATIENT_PONG_SECONDS = 4
# Longer than a client that answers no ping stays, though Daphne looks every two seconds only.
SILENCE_SECONDS = PING_SECONDS + PATIENT_PONG_SECONDS + 2
COMMANDS = {
    "daphne": [
        *("echo.servers", "-p", "{port}"),
        *("--ping-interval", "{interval}", "--ping-timeout", "{timeout}"),
        APPLICATION,
    ],
    "uvicorn": [
        *("uvicorn", "--port", "{port}"),
        *("--ws-ping-interval", "{interval}", "--ws-ping-timeout", "{timeout}"),
        APPLICATION,
    ],
}


@contextlib.contextmanager
def site_that_pings(server: str, directory: Path, timeout: int) -> Iterator[LiveSite]:
    """Run a site that pings each second, and waits so many seconds for a pong."""
    site = LiveSite(server, directory, ECHO_LOG_MESSAGES="off")
    given = {"port": site.port, "interval": PING_SECONDS, "timeout": timeout}
    arguments = [part.format(**given) for part in COMMANDS[server]]
    site.command = [sys.executable, "-m", *arguments]
    with site:
        yield site
    assert "Traceback" not in site.log, site.log


@pytest.fixture(scope="module", params=COMMANDS)
def pinging_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """A site with a short keepalive interval and timeout."""
    directory = tmp_path_factory.mktemp(request.param)
    with site_that_pings(request.param, directory, PING_SECONDS) as site:
        yield site


@pytest.fixture(scope="module", params=COMMANDS)
def patient_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """A site with a longer timeout."""
    directory = tmp_path_factory.mktemp(request.param)
    with site_that_pings(request.param, directory, PATIENT_PONG_SECONDS) as site:
        yield site


def frame_after_pings(connection: Connection) -> Frame:
    """Return the next frame that is no ping, and answer none."""
    while (frame := connection.frame()).opcode == Opcode.PING:
        pass
    return frame


def answer_pings(connection: Connection) -> Frame:
    """Return the next frame that is no ping, and answer those before it."""
    while (frame := connection.frame()).opcode == Opcode.PING:
        connection.send_frame(Opcode.PONG, frame.payload)
    return frame


def wait_until_cut(site: LiveSite) -> None:
    wait_until(lambda: connections(site.port) == 0, "the connection to be cut")


@pytest.mark.parametrize("sent", [b"", encode(Opcode.TEXT, b"x", fin=False), b"\x81"])
def test_a_client_that_answers_no_ping_is_closed_1011_and_cut(
    pinging_site: LiveSite, sent: bytes
) -> None:
    with Connection(pinging_site.port) as connection:
        connection.send(sent)
        frame = frame_after_pings(connection)
        assert frame.payload[:2] == close(1011).payload, frame
        wait_until_cut(pinging_site)


def test_a_client_that_answers_pings_stays(patient_site: LiveSite) -> None:
    with Connection(patient_site.port) as connection:
        until = time.monotonic() + SILENCE_SECONDS
        while time.monotonic() < until:
            ping = connection.frame()
            assert ping.opcode == Opcode.PING
            connection.send_frame(Opcode.PONG, ping.payload)
        connection.send_frame(Opcode.TEXT, b"still here")
        assert answer_pings(connection) == text("still here")


def test_a_client_that_stops_reading_for_a_while_is_not_closed(
    patient_site: LiveSite,
) -> None:
    """The server does not read from it, so it cannot see a pong.

    When it does again, the client has its time to answer.
    """
    with Connection(patient_site.port) as connection:
        numbers = [n.to_bytes(4, "big") * 16_384 for n in range(512)]
        data = b"".join(encode(Opcode.BINARY, number) for number in numbers)
        sent = write_until_stalled(connection.socket, data)
        time.sleep(SILENCE_SECONDS)
        echoes: list[int] = []
        whole = sent // len(encode(Opcode.BINARY, numbers[0]))
        while len(echoes) < whole:
            frame = connection.frame()
            if frame.opcode == Opcode.PING:
                time.sleep(PATIENT_PONG_SECONDS / 2)
                connection.send_frame(Opcode.PONG, frame.payload)
            else:
                assert frame.opcode == Opcode.BINARY, frame
                echoes.append(int.from_bytes(frame.payload[:4], "big"))
        assert all((a + 1) % 512 == b for a, b in pairwise(echoes))


def test_a_client_that_does_not_answer_a_close_is_cut(pinging_site: LiveSite) -> None:
    target = "/echo?close_after=1&close_code=4000"
    with Connection(pinging_site.port, target) as connection:
        connection.send_frame(Opcode.TEXT, b"last")
        assert frame_after_pings(connection) == text("last")
        assert connection.frame() == close(4000)
        wait_until_cut(pinging_site)


def test_a_client_that_goes_on_sending_after_a_close_is_cut(
    pinging_site: LiveSite,
) -> None:
    target = "/echo?close_after=1&close_code=4000"
    with Connection(pinging_site.port, target) as connection:
        connection.send_frame(Opcode.TEXT, b"last")
        assert frame_after_pings(connection) == text("last")
        assert connection.frame() == close(4000)
        until = time.monotonic() + PATIENCE_SECONDS
        with contextlib.suppress(OSError):
            while time.monotonic() < until:
                connection.send_frame(Opcode.BINARY, bytes(64 * 1024))
        assert time.monotonic() < until
        wait_until_cut(pinging_site)
