"""Handshakes that are accepted, and refusals: a status, and the reason as JSON."""

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from echo.tests.live import COMMANDS, PATIENCE_SECONDS, LiveSite
from echo.tests.servers.conftest import Connect
from echo.tests.servers.frames import (
    Connection,
    Opcode,
    Refused,
    text,
)

ELSEWHERE = "https://app.example.com"


def refusal(connect: Connect, *arguments: Any, **headers: Any) -> dict[str, Any]:
    """Return the JSON body of the refusal; check its status_code."""
    with pytest.raises(Refused) as refused:
        connect(*arguments, **headers)
    answer = refused.value
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = json.loads(answer.body)
    assert body["status_code"] == answer.status
    return body


def assert_open(connection: Connection) -> None:
    connection.send_frame(Opcode.TEXT, b"open?")
    assert connection.frame() == text("open?")


def test_the_key_is_answered(connect: Connect) -> None:
    key = base64.b64encode(b"sixteen bytes ok").decode()
    expected = hashlib.sha1(
        key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    ).digest()
    headers = connect(**{"Sec-WebSocket-Key": key}).headers
    assert headers["sec-websocket-accept"] == base64.b64encode(expected).decode()
    assert headers["upgrade"].lower() == "websocket"
    assert headers["connection"].lower() == "upgrade"


def test_no_extension_is_negotiated(connect: Connect) -> None:
    connection = connect(Sec_WebSocket_Extensions="permessage-deflate")
    assert "sec-websocket-extensions" not in connection.headers


@pytest.fixture(scope="module", params=COMMANDS)
def open_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """A site with ALLOWED_HOSTS and ALLOWED_ORIGINS."""
    origins = f"{ELSEWHERE},https://.trusted.example,http://localhost:3000"
    names = {"ALLOWED_HOSTS": "example.com,127.0.0.1,[::1]"}
    directory = tmp_path_factory.mktemp("open")
    with LiveSite(request.param, directory, ALLOWED_ORIGINS=origins, **names) as live:
        yield live


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8000", None),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("Example.com", "http://example.COM"),
        ("example.com", "http://example.com:80"),
        ("example.com:80", "http://example.com"),
        ("example.com", "https://example.com"),
        ("example.com:443", "https://example.com"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_sites_own_origin_or_none_is_accepted(
    open_site: LiveSite, host: str, origin: str | None
) -> None:
    with Connection(open_site.port, Host=host, Origin=origin) as connection:
        assert_open(connection)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8001"),
        ("127.0.0.1:8000", "http://localhost:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1"),
        ("example.com", "http://evil.example.com"),
        ("example.com", "http://example.com.evil.example"),
        ("example.com:80", "https://example.com"),
        ("example.com", "http://example.com:http"),
        ("example.com", "null"),
        ("example.com", "example.com"),
        ("example.com", "file://"),
        ("example.com", "https://app.example.org"),
    ],
)
def test_any_other_origin_is_refused_with_403(
    open_site: LiveSite, host: str, origin: str
) -> None:
    body = refusal(partial(Connection, open_site.port), Host=host, Origin=origin)
    assert (body["status_code"], body["error"]) == (403, "Forbidden")
    assert origin in body["detail"]
    assert "ALLOWED_ORIGINS" in body["detail"]


@pytest.mark.parametrize(
    "origin",
    [ELSEWHERE, "https://a.b.trusted.example", "http://localhost:3000"],
)
def test_an_allowed_origin_is_accepted(open_site: LiveSite, origin: str) -> None:
    with Connection(open_site.port, Origin=origin) as connection:
        assert_open(connection)


@pytest.mark.parametrize(
    "origin",
    [
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://nottrusted.example",
        "http://localhost:3001",
        "null",
    ],
)
def test_an_origin_near_an_allowed_one_is_refused(
    open_site: LiveSite, origin: str
) -> None:
    with pytest.raises(Refused, match="403"):
        Connection(open_site.port, Origin=origin)


def test_a_handshake_without_a_host_is_refused_with_400(connect: Connect) -> None:
    with pytest.raises(Refused) as refused:
        connect(Host=None)
    assert refused.value.status == 400


@pytest.mark.parametrize("path", ["/echo", "/feed/ws"])
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.0.2.7"]
)
def test_another_host_is_refused_with_400(
    connect: Connect, path: str, host: str
) -> None:
    """DNS rebinding: another site's name points to this address."""
    body = refusal(connect, path, Host=host, Origin=f"http://{host}")
    assert (body["status_code"], body["error"]) == (400, "Bad Request")
    assert "ALLOWED_HOSTS" in body["detail"]
    assert host in body["detail"]


@pytest.mark.parametrize("path", ["/echo", "/feed/ws"])
def test_two_hosts_are_refused_with_400(
    quiet_site: LiveSite, connect: Connect, path: str
) -> None:
    host = f"127.0.0.1:{quiet_site.port}"
    with pytest.raises(Refused) as refused:
        connect(path, X=f"1\r\nHost: {host}")
    assert refused.value.status == 400


def test_a_forwarded_host_is_not_believed(connect: Connect) -> None:
    named = {"X_Forwarded_Host": "127.0.0.1"}
    refusal(connect, Host="evil.example", Origin="http://127.0.0.1", **named)


class UnixSite(LiveSite):
    """The site on uvicorn, on a Unix socket in its directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "socket"
        super().__init__("uvicorn", directory, ("--uds", str(self.path)))

    def answers(self) -> bool:
        """Return whether the socket listens: its file is there a moment before."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0

    def connect(self, host: str) -> Connection:
        connection = Connection.__new__(Connection)
        connection.buffer = bytearray()
        connection.socket = socket.socket(socket.AF_UNIX)
        connection.socket.settimeout(PATIENCE_SECONDS)
        connection.socket.connect(str(self.path))
        try:
            connection.handshake("/echo", {"Host": host})
        except BaseException:
            connection.socket.close()
            raise
        return connection


def test_hosts_are_checked_on_a_unix_socket_too(tmp_path: Path) -> None:
    live = UnixSite(tmp_path)
    with live:
        for host in ("localhost", "LOCALHOST.", "[::1]:1", "127.0.0.1"):
            with live.connect(host) as connection:
                assert_open(connection)
        with pytest.raises(Refused, match="400"):
            live.connect("evil.example")
    assert "Traceback" not in live.log


@pytest.mark.parametrize(
    "path", ["/", "/echo/", "/echo/more", "/nowhere", "/%F0%9F%8E%89?delay=1s"]
)
def test_an_unknown_path_is_refused_with_404(connect: Connect, path: str) -> None:
    body = refusal(connect, path)
    assert (body["status_code"], body["error"]) == (404, "Not Found")
    assert "/echo" in body["detail"]


@pytest.mark.parametrize("version", ["12", "14", "x", None])
def test_another_version_of_the_protocol_is_refused(
    connect: Connect, version: str | None
) -> None:
    with pytest.raises(Refused) as refused:
        connect(Sec_WebSocket_Version=version)
    assert 400 <= refused.value.status < 500


@pytest.mark.parametrize("key", ["short", None, "not base64 at all!!!!!!!"])
def test_a_bad_key_is_refused_with_400(connect: Connect, key: str | None) -> None:
    with pytest.raises(Refused, match="400"):
        connect(Sec_WebSocket_Key=key)


@pytest.mark.parametrize(
    ("query", "offered", "selected"),
    [
        ("", "chat, superchat", None),
        ("?subprotocol=chat", None, None),
        ("?subprotocol=chat", "superchat", None),
        ("?subprotocol=chat", "superchat, chat", "chat"),
        ("?subprotocol=*", "superchat, chat", "superchat"),
        ("?subprotocol=*", None, None),
        ("?subprotocol=Chat", "chat", None),
    ],
)
def test_only_an_offered_subprotocol_is_selected(
    connect: Connect, query: str, offered: str | None, selected: str | None
) -> None:
    connection = connect(f"/echo{query}", Sec_WebSocket_Protocol=offered)
    assert connection.headers.get("sec-websocket-protocol") == selected
    assert_open(connection)


def test_the_handshake_is_shown_without_its_secrets(connect: Connect) -> None:
    connection = connect(
        "/echo?handshake=1&delay=0&colour=red&subprotocol=*",
        Host="sub.localhost",
        Origin="http://sub.localhost",
        X_Forwarded_Host="evil.example",
        Cookie="sessionid=secret",
        Authorization="Bearer secret",
        X_Custom="kept",
        Sec_WebSocket_Protocol="chat, superchat",
    )
    frame = connection.frame()
    seen = json.loads(frame.payload)
    assert frame.opcode == Opcode.TEXT
    assert b"secret" not in frame.payload
    assert seen["url"].endswith("/echo?handshake=1&delay=0&colour=red&subprotocol=*")
    assert seen["url"].startswith("ws://sub.localhost/")
    assert seen["args"]["colour"] == "red"
    assert seen["headers"]["Cookie"] == "[redacted]"
    assert seen["headers"]["Authorization"] == "[redacted]"
    assert seen["headers"]["X-Custom"] == "kept"
    assert seen["origin"] == "http://sub.localhost"
    assert seen["subprotocols"] == ["chat", "superchat"]
    assert seen["subprotocol"] == "chat"
    host, port = connection.socket.getsockname()
    assert seen["client"] == f"{host}:{port}"
    assert seen["server"] == f"{host}:{connection.socket.getpeername()[1]}"
    assert seen["settings"]["ignored"] == ["colour"]
    assert seen["settings"]["max_message_size"] == 1024 * 1024
    assert_open(connection)


def test_a_plain_get_is_answered_with_426(quiet_site: LiveSite) -> None:
    response = quiet_site.get("/echo?delay=250ms&colour=red")
    body = response.json()
    assert response.status_code == body["status_code"] == 426
    assert response.headers["upgrade"] == "websocket"
    assert "upgrade" in response.headers["connection"].lower()
    assert body["error"] == "Upgrade Required"
    assert body["settings"]["delay"] == 0.25
    assert body["ignored"] == ["colour"]


def test_a_plain_get_gives_the_reason_of_a_refusal(
    quiet_site: LiveSite, connect: Connect
) -> None:
    response = quiet_site.get("/echo?delay=1h")
    assert response.status_code == 400
    assert response.json() == refusal(connect, "/echo?delay=1h")
    assert response.json()["error"] == "Bad Request"
    assert "'1h'" in response.json()["detail"]
