"""A tapped connection reports its bytes; no other has anything of a tap."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from echo.tests.live import LiveSite
from echo.tests.servers.applications import COMMANDS, serve
from echo.tests.servers.frames import Connection, Opcode, close, encode

APPLICATION = "echo.tests.servers.tapping:application"


@pytest.fixture(params=COMMANDS, scope="module")
def tapping_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    with serve(APPLICATION, request.param, tmp_path_factory.mktemp("site")) as site:
        yield site


def ask(connection: Connection, text: bytes) -> Any:
    connection.send_frame(Opcode.TEXT, text)
    return json.loads(connection.frame().payload)


@pytest.mark.parametrize("path", ["/", "/echo?x=/protocol/ws", "/protocol/wss"])
def test_only_one_path_is_offered_a_tap(tapping_site: LiveSite, path: str) -> None:
    with Connection(tapping_site.port, path) as connection:
        assert ask(connection, b"?") == {
            "offered": False,
            "replaced": [],
            "reports": [],
        }


def test_a_connection_that_is_not_tapped_has_nothing_of_a_tap(
    tapping_site: LiveSite,
) -> None:
    with Connection(tapping_site.port, "/protocol/ws") as connection:
        assert ask(connection, b"?") == {"offered": True, "replaced": [], "reports": []}


def test_a_tap_replaces_two_things_and_puts_them_back(tapping_site: LiveSite) -> None:
    with Connection(tapping_site.port, "/protocol/ws") as connection:
        receive, transport = ask(connection, b"tap")["replaced"]
        assert receive in ("data_received", "dataReceived")
        assert transport == "transport"
        first = ask(connection, b"stop")
        assert first["replaced"] == []
        assert ask(connection, b"?")["reports"] == first["reports"]


def test_a_tap_reports_both_heads_without_secrets(tapping_site: LiveSite) -> None:
    headers: dict[str, Any] = {
        "Cookie": "sessionid=secret",
        "Authorization": "Bearer secret",
        "X-Case": "Kept",
    }
    with Connection(tapping_site.port, "/protocol/ws?early", **headers) as connection:
        (asker, request), (answerer, response), *_ = ask(connection, b"?")["reports"]
    assert (asker, answerer) == ("client", "server")
    assert request.startswith("GET /protocol/ws?early HTTP/1.1\r\n")
    assert request.endswith("\r\n\r\n")
    assert "X-Case: Kept" in request.split("\r\n")
    assert "Cookie: [redacted]" in request.split("\r\n")
    assert response.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    assert response.endswith("\r\n\r\n")
    assert "Set-Cookie: [redacted]" in response.split("\r\n")
    assert "secret" not in request + response


def test_a_tap_reports_every_byte_of_both_sides(tapping_site: LiveSite) -> None:
    ping = encode(Opcode.PING, b"in the same packet")
    with Connection(tapping_site.port, "/protocol/ws?early") as connection:
        connection.send(encode(Opcode.TEXT, b"one"), ping)
        answers = [connection.frame(), connection.frame()]
        assert {answer.opcode for answer in answers} == {Opcode.TEXT, Opcode.PONG}
        reports = ask(connection, b"two")["reports"][2:]
    received = "".join(data for sender, data in reports if sender == "client")
    expected = encode(Opcode.TEXT, b"one") + ping + encode(Opcode.TEXT, b"two")
    assert received.encode("latin-1") == expected
    sent = "".join(data for sender, data in reports if sender == "server")
    pong = encode(Opcode.PONG, b"in the same packet", mask=False)
    assert pong.decode("latin-1") in sent


def test_frames_that_come_with_the_handshake_are_reported(
    tapping_site: LiveSite,
) -> None:
    early = encode(Opcode.TEXT, b"early")
    with EarlyConnection(tapping_site.port, early) as connection:
        reports = json.loads(connection.frame().payload)["reports"]
    assert [sender for sender, _ in reports[:3]] in (
        ["client", "client", "server"],
        ["client", "server", "client"],
    )
    received = [
        data.encode("latin-1") for sender, data in reports if sender == "client"
    ]
    assert received[1:] == [early]


class EarlyConnection(Connection):
    """Sends a frame in one packet with its handshake."""

    def __init__(self, port: int, early: bytes) -> None:
        self.early = early
        super().__init__(port, "/protocol/ws?early")

    def send(self, *data: bytes) -> None:
        super().send(*data, self.early)
        self.early = b""


def test_a_tapped_connection_closes_in_order(tapping_site: LiveSite) -> None:
    with Connection(tapping_site.port, "/protocol/ws?early") as connection:
        ask(connection, b"?")
        connection.send_frame(Opcode.CLOSE, close(1000, "bye").payload)
        assert connection.rest() == [close(1000, "bye")]
