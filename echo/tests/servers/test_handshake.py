"""Who is let in, and how the others are told: a status, and the reason as JSON."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from echo.tests.live import COMMANDS, LiveSite
from echo.tests.servers.conftest import Connect
from echo.tests.servers.frames import Connection, Opcode, Refused, text

ELSEWHERE = "https://app.example.com"


def refusal(connect: Connect, *arguments: Any, **headers: Any) -> dict[str, Any]:
    """The JSON body of the refusal; its status is the response's own."""
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
def test_the_sites_own_origin_or_none_is_let_in(
    connect: Connect, host: str, origin: str | None
) -> None:
    assert_open(connect(Host=host, Origin=origin))


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
        ("example.com", ELSEWHERE),
    ],
)
def test_any_other_origin_is_refused_with_403(
    connect: Connect, host: str, origin: str
) -> None:
    body = refusal(connect, Host=host, Origin=origin)
    assert (body["status_code"], body["error"]) == (403, "Forbidden")
    assert origin in body["detail"]
    assert "ALLOWED_ORIGINS" in body["detail"]


@pytest.fixture(scope="module", params=COMMANDS)
def open_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """A site that lets other origins in."""
    origins = f"{ELSEWHERE},https://.trusted.example,http://localhost:3000"
    directory = tmp_path_factory.mktemp("open")
    with LiveSite(request.param, directory, ALLOWED_ORIGINS=origins) as live:
        yield live


@pytest.mark.parametrize(
    "origin",
    [ELSEWHERE, "https://a.b.trusted.example", "http://localhost:3000"],
)
def test_an_allowed_origin_is_let_in(open_site: LiveSite, origin: str) -> None:
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
        Host="example.com",
        Origin="http://example.com",
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
    assert seen["url"].startswith("ws://example.com/")
    assert seen["args"]["colour"] == "red"
    assert seen["headers"]["Cookie"] == "[redacted]"
    assert seen["headers"]["Authorization"] == "[redacted]"
    assert seen["headers"]["X-Custom"] == "kept"
    assert seen["origin"] == "http://example.com"
    assert seen["subprotocols"] == ["chat", "superchat"]
    assert seen["subprotocol"] == "chat"
    host, port = connection.socket.getsockname()
    assert seen["client"] == f"{host}:{port}"
    assert seen["server"] == f"{host}:{connection.socket.getpeername()[1]}"
    assert seen["settings"]["ignored"] == ["colour"]
    assert seen["settings"]["max_message_size"] == 1024 * 1024
    assert_open(connection)


def test_a_plain_get_is_told_to_upgrade(quiet_site: LiveSite) -> None:
    response = httpx.get(f"{quiet_site.url}/echo?delay=250ms&colour=red")
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
    response = httpx.get(f"{quiet_site.url}/echo?delay=1h")
    assert response.status_code == 400
    assert response.json() == refusal(connect, "/echo?delay=1h")
    assert response.json()["error"] == "Bad Request"
    assert "'1h'" in response.json()["detail"]
