"""The checks of Host and Origin, and refusals."""

import json
from typing import Any

import pytest
from django.core.exceptions import DisallowedHost
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from echo.handshake import SameOrigin, address, describe, not_found, refuse


@pytest.fixture(autouse=True)
def site_names(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["example.com", "[::1]"]


async def answer(application: Any, **headers: str) -> list[dict[str, Any]]:
    """Return the events that answer a handshake with these headers."""
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "websocket",
        "path": "/echo",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers.items()],
    }
    await application(scope, None, send)
    return sent


async def accepts(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})


async def status(**headers: str) -> int:
    """Return 101 for an accepted handshake, or the status of its refusal."""
    first, *_ = await answer(SameOrigin(accepts), **headers)
    return 101 if first["type"] == "websocket.accept" else first["status"]


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("example.com", "http://example.com"),
        ("example.com", "https://example.com"),
        ("example.com", "https://EXAMPLE.com"),
        ("example.com:80", "http://example.com"),
        ("example.com", "https://example.com:443"),
        ("example.com:8000", "http://example.com:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
async def test_the_site_itself_is_accepted(host: str, origin: str) -> None:
    assert await status(host=host, origin=origin) == 101


async def test_a_client_without_an_origin_is_accepted() -> None:
    assert await status(host="example.com") == 101


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://example.com:8001",
        "http://example.com",
        "https://example.com",
        "http://sub.example.com:8000",
        "http://example.com.evil.example:8000",
        "ftp://example.com:8000",
        "http://example.com:port",
        "http://[",
        "example.com:8000",
        "null",
        "",
    ],
)
async def test_another_origin_is_refused_with_403(origin: str) -> None:
    assert await status(host="example.com:8000", origin=origin) == 403


@pytest.mark.parametrize(
    ("allowed", "origin", "expected"),
    [
        (["https://app.example.com"], "https://app.example.com", 101),
        (["https://app.example.com"], "http://app.example.com", 403),
        (["https://app.example.com"], "https://app.example.com:8443", 403),
        ([".example.org"], "https://a.b.example.org", 101),
        ([".example.org"], "https://example.net", 403),
        (["*"], "https://anything.example", 101),
    ],
)
async def test_allowed_origins_are_accepted(
    settings: Settings, allowed: list[str], origin: str, expected: int
) -> None:
    settings.ALLOWED_ORIGINS = allowed
    assert await status(host="example.com", origin=origin) == expected


async def test_a_handshake_without_a_host_is_refused_with_400() -> None:
    assert await status() == 400
    assert await status(host="") == 400


async def host_status(*hosts: str, **headers: str) -> int:
    """Return the status of a handshake with these Host headers and no Origin."""
    fields = [(b"host", host.encode("latin-1")) for host in hosts]
    fields += [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "websocket", "path": "/echo", "headers": fields}
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await SameOrigin(accepts)(scope, None, send)
    return int(sent[0].get("status", 101))


@pytest.mark.parametrize(
    ("allowed", "host", "expected"),
    [
        # With DEBUG and no ALLOWED_HOSTS, as Django judges HTTP.
        ([], "localhost:8000", 101),
        ([], "LOCALHOST", 101),
        ([], "sub.localhost", 101),
        ([], "localhost.", 101),
        ([], "127.0.0.1:8000", 101),
        ([], "[::1]:8000", 101),
        ([], "[::1]", 101),
        ([], "evil.example", 400),
        ([], "192.0.2.7:8000", 400),
        ([], "localhost.evil.example", 400),
        ([], "localhost@evil.example", 400),
        ([], "localhost:8000:8001", 400),
        ([], "localhost, evil.example", 400),
        ([], "[::1", 400),
        ([], "local host", 400),
        ([], "bücher.example", 400),
        ([], "", 400),
        (["example.com"], "EXAMPLE.com.:80", 101),
        (["example.com"], "localhost", 400),
        (["example.com"], "sub.example.com", 400),
        ([".example.com"], "sub.example.com", 101),
        (["*"], "anything.example", 101),
        (["*"], "any thing", 400),
        (["[2001:db8::7]"], "[2001:DB8::7]:8000", 101),
    ],
)
async def test_a_handshake_names_an_allowed_host(
    settings: Settings, allowed: list[str], host: str, expected: int
) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, allowed
    assert await host_status(host) == expected


async def test_without_debug_an_empty_list_allows_no_host(settings: Settings) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = False, []
    assert await host_status("localhost") == 400


async def test_two_hosts_are_refused_with_400() -> None:
    assert await host_status("example.com", "example.com") == 400


async def test_a_forwarded_host_is_not_believed() -> None:
    told = {"x-forwarded-host": "example.com"}
    assert await host_status("evil.example", **told) == 400
    assert await host_status("example.com", **{"x-forwarded-host": "evil"}) == 101


@given(host=st.text(st.characters(codec="latin-1"), max_size=40))
async def test_the_same_hosts_are_accepted_as_by_django(host: str) -> None:
    request = RequestFactory().get("/", headers={"host": host})
    try:
        request.get_host()
        expected = 101
    except DisallowedHost:
        expected = 400
    assert await host_status(host) == expected


async def test_a_refusal_is_json_with_the_reason() -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await refuse(send, 418, "no 小王子 here")

    start, body = await answer(refusing)
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"application/json; charset=utf-8"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert "小王子".encode() in body["body"]
    assert json.loads(body["body"]) == {
        "status_code": 418,
        "error": "I'm a Teapot",
        "detail": "no 小王子 here",
    }


async def test_an_unknown_path_is_refused_with_404() -> None:
    start, body = await answer(not_found)
    assert start["status"] == 404
    assert json.loads(body["body"])["error"] == "Not Found"


def test_a_handshake_is_described_without_its_secrets() -> None:
    seen = describe(
        {
            "scheme": "ws",
            "path": "/echo",
            "query_string": b"handshake=1&x=%E5%B0%8F",
            "headers": [
                (b"host", b"example.com"),
                (b"origin", b"http://example.com"),
                (b"cookie", b"sessionid=secret"),
                (b"authorization", b"Bearer secret"),
                (b"x-twice", b"a"),
                (b"x-twice", b"b"),
            ],
            "subprotocols": ["chat"],
            "client": ("192.0.2.1", 5000),
            "server": None,
        }
    )
    assert "secret" not in json.dumps(seen)
    assert seen == {
        "url": "ws://example.com/echo?handshake=1&x=%E5%B0%8F",
        "args": {"handshake": "1", "x": "小"},
        "headers": {
            "Host": "example.com",
            "Origin": "http://example.com",
            "Cookie": "[redacted]",
            "Authorization": "[redacted]",
            "X-Twice": "a, b",
        },
        "origin": "http://example.com",
        "subprotocols": ["chat"],
        "client": "192.0.2.1:5000",
        "server": None,
    }


def test_an_address_is_host_and_port() -> None:
    assert address(("127.0.0.1", 8000)) == "127.0.0.1:8000"
    assert address(None) is None
