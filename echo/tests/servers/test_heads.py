"""Request heads and bodies are bounded and checked before an application runs."""

import contextlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from echo.tests.live import PATIENCE_SECONDS, LiveSite, wait_until
from echo.tests.servers.frames import Connection, Opcode, close, encode, text

SERVERS = {
    "daphne": ("daphne", ()),
    "uvicorn": ("uvicorn", ()),
    "uvicorn-h11": ("uvicorn", ("--http", "h11")),
}
HEAD_TIMEOUT_SECONDS = 0.7
MEBIBYTE = 1024 * 1024
# Far more than checking a head needs, far less than what is pushed.
FLOOD_BYTES, GROWTH_BYTES = 96 * MEBIBYTE, 32 * MEBIBYTE

HOST = b"Host: localhost\r\n"
LAST = b"Host: localhost\r\nConnection: close\r\n\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
HANDSHAKE = HOST + UPGRADE + VERSION + KEY
GET = b"GET /hello HTTP/1.1\r\n"
POST = b"POST /anything HTTP/1.1\r\n"
GET_ECHO = b"GET /echo HTTP/1.1\r\n"
CLOSE_FRAME = encode(Opcode.CLOSE, close(1000).payload)


@contextlib.contextmanager
def quiet(
    server: str, factory: pytest.TempPathFactory, **environment: str
) -> Iterator[LiveSite]:
    """Run a site; after all tests, its log must not have an error."""
    name, arguments = SERVERS[server]
    directory = factory.mktemp("heads")
    with LiveSite(name, directory, arguments, **environment) as live:
        yield live
    assert "Traceback" not in live.log, live.log
    assert "ERROR" not in live.log, live.log


@pytest.fixture(scope="module", params=SERVERS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    with quiet(request.param, tmp_path_factory) as live:
        yield live


@pytest.fixture(scope="module", params=SERVERS)
def impatient_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """A site with short deadlines, for tests that let them pass."""
    deadlines = {
        "HEAD_TIMEOUT_SECONDS": str(HEAD_TIMEOUT_SECONDS),
        "BODY_TIMEOUT_SECONDS": "0.7",
    }
    with quiet(request.param, tmp_path_factory, **deadlines) as live:
        yield live


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def parse(cls, data: bytes) -> "Answer":
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = (line.split(":", 1) for line in lines)
        headers = {name.lower(): value.strip() for name, value in fields}
        return cls(int(status.split()[1]), headers, body)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def connect(site: LiveSite) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), PATIENCE_SECONDS)


def read_to_end(client: socket.socket) -> bytes:
    """Return all bytes up to the end of the stream. Raises for a TCP reset."""
    pieces = []
    while piece := client.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def ask(site: LiveSite, *data: bytes) -> Answer:
    """Send the bytes, and return the answer up to the end of the connection."""
    with connect(site) as client:
        client.sendall(b"".join(data))
        return Answer.parse(read_to_end(client))


def assert_refused(answer: Answer, status: int) -> str:
    """Check that the answer is the site's JSON error; return its detail."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["connection"].endswith("close")
    assert set(answer.json) == {"status_code", "error", "detail"}
    assert answer.json["status_code"] == status
    return str(answer.json["detail"])


def memory(site: LiveSite) -> int:
    """Return the server's memory in bytes."""
    assert site.process is not None
    status = Path(f"/proc/{site.process.pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024


# --- size ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "piece", "status"),
    [
        (GET + HOST, b"X-A: " + b"a" * 1000 + b"\r\n", 431),
        (GET + HOST + b"X-A: ", b"a" * 65536, 431),
        (b"GET /", b"a" * 65536, 414),
        (GET_ECHO + HANDSHAKE, b"X-A: " + b"a" * 1000 + b"\r\n", 431),
        (GET_ECHO + HANDSHAKE + b"Cookie: ", b"a" * 65536, 431),
        (b"GET /echo?", b"a" * 65536, 414),
    ],
    ids=["lines", "header", "url", "handshake lines", "handshake header", "query"],
)
def test_an_endless_head_is_refused_and_costs_no_memory(
    site: LiveSite, start: bytes, piece: bytes, status: int
) -> None:
    before, answer, sent = memory(site), b"", 0
    with connect(site) as client:
        client.sendall(start)
        try:
            while sent < FLOOD_BYTES:
                client.sendall(piece * 16)
                sent += 16 * len(piece)
                assert memory(site) - before < GROWTH_BYTES
        except OSError:  # the server has stopped listening to this client
            pass
        try:
            while piece := client.recv(65536):
                answer += piece
        except OSError:
            pass
    assert_refused(Answer.parse(answer), status)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (GET + HOST + b"Cookie: " + b"a" * 66_000 + b"\r\n\r\n", 431),
        (GET + HOST + b"A: b\r\n" * 1001 + b"\r\n", 431),
        (b"GET /" + b"a" * 66_000 + b" HTTP/1.1\r\n" + LAST, 414),
        (GET_ECHO + HANDSHAKE + b"Cookie: " + b"a" * 66_000 + b"\r\n\r\n", 431),
        (b"GET /echo?" + b"a" * 66_000 + b" HTTP/1.1\r\n" + HANDSHAKE + b"\r\n", 414),
    ],
)
def test_a_head_over_64_kib_is_refused(
    site: LiveSite, data: bytes, status: int
) -> None:
    assert_refused(ask(site, data), status)


def test_a_large_head_within_64_kib_is_served(site: LiveSite) -> None:
    cookie = b"Cookie: " + b"a" * 60_000 + b"\r\n"
    assert ask(site, GET, cookie, LAST).status == 200
    many = b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(900))
    assert ask(site, GET, many, LAST).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        b"Cookie: " + b"a" * 60_000 + b"\r\n",
        b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(500)),
        b"Content-Length: 0\r\n",
    ],
    ids=["cookie", "many", "empty body"],
)
def test_a_handshake_with_a_large_head_is_accepted(
    site: LiveSite, headers: bytes
) -> None:
    answer = ask(site, GET_ECHO, HANDSHAKE, headers, b"\r\n", CLOSE_FRAME)
    assert answer.status == 101


def test_a_handshake_with_a_long_query_is_accepted(site: LiveSite) -> None:
    query = b"?colour=" + b"a" * 30_000
    line = b"GET /echo" + query + b" HTTP/1.1\r\n"
    assert ask(site, line, HANDSHAKE, b"\r\n", CLOSE_FRAME).status == 101


@pytest.mark.parametrize(
    "data",
    [
        POST + HOST + b"Content-Length: 99999999999\r\n\r\n",
        POST + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"FFFFFFF\r\n",
        POST
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"80000\r\n" + b"a" * 0x80000 + b"\r\n") * 12,
    ],
    ids=["announced", "one chunk", "many chunks"],
)
def test_a_body_that_is_too_large_is_refused(site: LiveSite, data: bytes) -> None:
    assert "4194304" in assert_refused(ask(site, data), 413)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"1;" + b"x" * 300 + b"\r\n", 400),
        (b"0\r\n" + b"X: " + b"x" * 90 + b"\r\n" * 1 + b"X: y\r\n" * 2000, 431),
        (b"-1\r\n", 400),
        (b"0x1\r\na\r\n", 400),
        (b"1\na\r\n", 400),
        (b"1\r\nabc\r\n", 400),
    ],
    ids=["extension", "trailers", "negative", "0x", "line feed", "longer"],
)
def test_a_chunked_body_that_breaks_the_rules_is_refused(
    site: LiveSite, body: bytes, status: int
) -> None:
    head = POST + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert_refused(ask(site, head, body), status)


def test_a_chunked_body_is_put_together(site: LiveSite) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\n" + LAST
    answer = ask(site, head, b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n")
    assert answer.json["data"] == "abcde"


# --- time ------------------------------------------------------------------------------


def drip(client: socket.socket, data: bytes, stop: threading.Event) -> None:
    """Send a byte every 50 ms until the server closes."""
    for byte in data:
        try:
            client.sendall(bytes([byte]))
        except OSError:
            return
        if stop.wait(0.05):
            return


def dripped(site: LiveSite, start: bytes, slowly: bytes) -> tuple[bytes, float]:
    """Return the answer, and the seconds until the server closed."""
    stop = threading.Event()
    begun = time.monotonic()
    with connect(site) as client:
        client.sendall(start)
        thread = threading.Thread(target=drip, args=(client, slowly, stop))
        thread.start()
        try:
            data = read_to_end(client)
        finally:
            stop.set()
            thread.join()
        return data, time.monotonic() - begun


def test_a_silent_client_is_closed(impatient_site: LiveSite) -> None:
    data, seconds = dripped(impatient_site, b"", b"")
    assert data == b""
    assert seconds > HEAD_TIMEOUT_SECONDS / 2


@pytest.mark.parametrize("start", [GET, GET_ECHO + HANDSHAKE], ids=["http", "ws"])
@pytest.mark.parametrize("slowly", [b"", b"X-A: " + b"a" * 400], ids=["half", "drip"])
def test_a_head_that_does_not_end_is_answered_with_408(
    impatient_site: LiveSite, start: bytes, slowly: bytes
) -> None:
    data, _ = dripped(impatient_site, start, slowly)
    assert "head" in assert_refused(Answer.parse(data), 408)


def test_the_next_head_on_a_connection_has_a_deadline_too(
    impatient_site: LiveSite,
) -> None:
    data, _ = dripped(
        impatient_site, GET + HOST + b"\r\n", b"GET /hello HTTP/1.1\r\n" + b"a" * 400
    )
    first, found, second = data.partition(b'{"message":"Hello world!"}')
    assert found
    assert Answer.parse(first).status == 200
    assert_refused(Answer.parse(second), 408)


@pytest.mark.parametrize(
    ("framing", "slowly"),
    [
        (b"Content-Length: 1000", b""),
        (b"Content-Length: 1000", b"0" * 400),
        (b"Transfer-Encoding: chunked", b""),
        (b"Transfer-Encoding: chunked", b"1\r\na\r\n" * 100),
    ],
)
def test_a_body_that_does_not_come_is_answered_with_408(
    impatient_site: LiveSite, framing: bytes, slowly: bytes
) -> None:
    data, _ = dripped(impatient_site, POST + HOST + framing + b"\r\n\r\n", slowly)
    assert "body" in assert_refused(Answer.parse(data), 408)


def test_an_answer_before_the_end_of_the_body_is_the_only_one(
    impatient_site: LiveSite,
) -> None:
    line = b"POST /healthz HTTP/1.1\r\n"
    data, _ = dripped(
        impatient_site, line + HOST + b"Content-Length: 1000\r\n\r\n", b"0" * 400
    )
    assert data.count(b"HTTP/1.1 ") == 1
    assert Answer.parse(data).status in (405, 408)


def test_a_long_answer_has_no_deadline(impatient_site: LiveSite) -> None:
    poll = b"GET /feed/poll?wait=2 HTTP/1.1\r\n"
    begun = time.monotonic()
    assert ask(impatient_site, poll, LAST).status == 200
    assert time.monotonic() - begun > 2 * HEAD_TIMEOUT_SECONDS


# --- handshakes ------------------------------------------------------------------------


@pytest.mark.parametrize("version", [b"8", b"13, 8", b"8, 13", b"0", b""])
def test_the_refusal_of_a_version_names_13(site: LiveSite, version: bytes) -> None:
    line = b"Sec-WebSocket-Version: " + version + b"\r\n" if version else b""
    answer = ask(site, GET_ECHO, HOST, UPGRADE, KEY, line, b"\r\n")
    assert "13" in assert_refused(answer, 426)
    assert answer.headers["sec-websocket-version"] == "13"
    assert answer.headers["upgrade"] == "websocket"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (GET_ECHO + HOST + UPGRADE + VERSION, 400),
        (GET_ECHO + HOST + UPGRADE + VERSION + b"Sec-WebSocket-Key: c2hvcnQ=\r\n", 400),
        (GET_ECHO + HOST + UPGRADE + VERSION + b"Sec-WebSocket-Key: \xff\r\n", 400),
        (GET_ECHO + HANDSHAKE + KEY, 400),
        (GET_ECHO + HANDSHAKE + b"Origin: http://a\r\nOrigin: http://b\r\n", 400),
        (b"POST /echo HTTP/1.1\r\n" + HANDSHAKE, 405),
        (b"GET /echo HTTP/1.0\r\n" + HANDSHAKE, 400),
        (GET_ECHO + HOST + b"Upgrade: websocket\r\n" + VERSION + KEY, 400),
        (
            GET_ECHO
            + HOST
            + b"Upgrade: websocket\r\nConnection: keep-alive\r\n"
            + VERSION
            + KEY,
            400,
        ),
        (GET_ECHO + HANDSHAKE + b"Content-Length: 5\r\n", 400),
        (GET_ECHO + HANDSHAKE + b"Transfer-Encoding: chunked\r\n", 400),
        (GET_ECHO + HANDSHAKE + b"Sec-WebSocket-Protocol: a b\r\n", 400),
        (GET_ECHO + UPGRADE + VERSION + KEY, 400),
        (GET_ECHO + HANDSHAKE + HOST, 400),
    ],
    ids=[
        "no key",
        "short key",
        "key not ASCII",
        "two keys",
        "two origins",
        "POST",
        "HTTP/1.0",
        "no Connection",
        "Connection: keep-alive",
        "Content-Length",
        "chunked",
        "subprotocol",
        "no Host",
        "two Hosts",
    ],
)
def test_what_is_no_handshake_is_refused(
    site: LiveSite, data: bytes, status: int
) -> None:
    assert_refused(ask(site, data, b"\r\n", b"hello"), status)


@pytest.mark.parametrize(
    "headers",
    [
        b"Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n",
        b"Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n",
        b"Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n",
    ],
)
def test_a_handshake_may_be_worded_in_several_ways(
    site: LiveSite, headers: bytes
) -> None:
    answer = ask(site, GET_ECHO, HOST, headers, VERSION, KEY, b"\r\n", CLOSE_FRAME)
    assert answer.status == 101


@pytest.mark.parametrize(
    ("offer", "selected"), [(b",a", "a"), (b", ,", None), (b"a,,b", "a")]
)
def test_an_empty_offer_of_a_subprotocol_is_none(
    site: LiveSite, offer: bytes, selected: str | None
) -> None:
    line = b"GET /echo?subprotocol=* HTTP/1.1\r\n"
    protocol = b"Sec-WebSocket-Protocol: " + offer + b"\r\n"
    answer = ask(site, line, HANDSHAKE, protocol, b"\r\n", CLOSE_FRAME)
    assert answer.status == 101
    assert answer.headers.get("sec-websocket-protocol") == selected


@pytest.mark.parametrize("path", [b"/echo", b"/echo?hang=300ms"])
def test_frames_sent_with_the_handshake_are_answered(
    site: LiveSite, path: bytes
) -> None:
    line = b"GET " + path + b" HTTP/1.1\r\n"
    hello = encode(Opcode.TEXT, b"early")
    answer = ask(site, line, HANDSHAKE, b"\r\n", hello, CLOSE_FRAME)
    assert answer.status == 101
    assert answer.body == b"\x81\x05early" + b"\x88\x02\x03\xe8"


def test_what_comes_before_the_handshake_is_answered_is_bounded(
    site: LiveSite,
) -> None:
    before = memory(site)
    frame = encode(Opcode.BINARY, bytes(500_000))
    with connect(site) as client:
        client.sendall(b"GET /echo?hang=2s&mute_after=1 HTTP/1.1\r\n" + HANDSHAKE)
        client.sendall(b"\r\n")
        client.settimeout(0.5)
        try:
            for _ in range(100):
                client.sendall(frame)
        except OSError:
            pass
        assert memory(site) - before < GROWTH_BYTES


# --- hosts and targets -----------------------------------------------------------------


@pytest.mark.parametrize("hosts", [b"", HOST + HOST, HOST + b"HOST: example.com\r\n"])
def test_a_request_has_one_host(site: LiveSite, hosts: bytes) -> None:
    assert "Host" in assert_refused(ask(site, GET, hosts, b"\r\n"), 400)


def test_http_1_0_needs_no_host(site: LiveSite) -> None:
    assert ask(site, b"GET /healthz HTTP/1.0\r\n\r\n").status == 200


@pytest.mark.parametrize("scheme", [b"http", b"HTTPS"])
def test_an_absolute_target_is_served(site: LiveSite, scheme: bytes) -> None:
    line = b"GET " + scheme + b"://localhost:8000/user/search?username=x HTTP/1.1\r\n"
    assert ask(site, line, LAST).json["username"] == "x"
    line = b"GET " + scheme + b"://localhost?handshake=1 HTTP/1.1\r\n"
    assert ask(site, line, LAST).status == 200


def test_an_absolute_target_names_the_host(site: LiveSite) -> None:
    line = b"GET http://127.0.0.1:1/echo?handshake=1 HTTP/1.1\r\n"
    answer = ask(site, line, HANDSHAKE, b"\r\n", CLOSE_FRAME)
    assert answer.status == 101
    assert (
        b'"Host": "127.0.0.1:1"' in answer.body
        or b'"Host":"127.0.0.1:1"' in answer.body
    )


def test_an_absolute_target_does_not_get_past_allowed_hosts(site: LiveSite) -> None:
    line = b"GET http://evil.example/hello HTTP/1.1\r\n"
    assert ask(site, line, LAST).status == 400
    allowed = b"GET http://localhost/hello HTTP/1.1\r\nHost: evil.example\r\n"
    assert ask(site, allowed, b"Connection: close\r\n\r\n").status == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /hello HTTP/1.1\r\nHost: localhost\n\n", 400),
        (b"GET /hello HTTP/1.1\n" + HOST + b"\r\n", 400),
        (b"GET /hello\r\n\r\n", 400),
        (b"GET  /hello HTTP/1.1\r\n" + LAST, 400),
        (b"GET /h\xc3\xa9llo HTTP/1.1\r\n" + LAST, 400),
        (b"GET /hello?\xff HTTP/1.1\r\n" + LAST, 400),
        (b"GET /hello\x00 HTTP/1.1\r\n" + LAST, 400),
        (b"GET hello HTTP/1.1\r\n" + LAST, 400),
        (b"GET ftp://localhost/hello HTTP/1.1\r\n" + LAST, 400),
        (b"GET http://user@localhost/hello HTTP/1.1\r\n" + LAST, 400),
        (b"GET http:///hello HTTP/1.1\r\n" + LAST, 400),
        (b"OPTIONS * HTTP/1.1\r\n" + LAST, 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\n" + LAST, 501),
        (b"BREW /hello HTTP/1.1\r\n" + LAST, 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (GET + b" X: y\r\n" + LAST, 400),
        (GET + b"X: y\r\n folded\r\n" + LAST, 400),
        (GET + b"X : y\r\n" + LAST, 400),
        (GET + b"X\xc3\xa9: y\r\n" + LAST, 400),
        (GET + b"no colon\r\n" + LAST, 400),
        (GET + b": no name\r\n" + LAST, 400),
        (GET + b"X: a\x00b\r\n" + LAST, 400),
        (GET + b"X: a\rb\r\n" + LAST, 400),
        (POST + b"Content-Length: -1\r\n" + LAST, 400),
        (POST + b"Content-Length: +1\r\n" + LAST, 400),
        (POST + b"Content-Length: 1_0\r\n" + LAST, 400),
        (POST + b"Content-Length: 1, 1\r\n" + LAST, 400),
        (POST + b"Content-Length: \r\n" + LAST, 400),
        (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n" + LAST, 400),
        (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" + LAST, 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n" + LAST, 501),
        (POST + b"Transfer-Encoding: chunked\r\n" * 2 + LAST, 501),
        (POST + b"Transfer-Encoding: identity\r\n" + LAST, 501),
        (
            b"POST /anything HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" + LAST,
            400,
        ),
    ],
)
def test_a_malformed_request_is_refused(
    site: LiveSite, data: bytes, status: int
) -> None:
    assert_refused(ask(site, data), status)


@pytest.mark.parametrize(
    "path", [b"/%00", b"/%ff%zz", b"//evil.example/x", b"/hello#top"]
)
def test_a_strange_path_is_not_found(site: LiveSite, path: bytes) -> None:
    answer = ask(site, b"GET " + path + b" HTTP/1.1\r\n" + LAST)
    assert answer.status == 404


def test_an_empty_line_before_a_request_is_ignored(site: LiveSite) -> None:
    assert ask(site, b"\r\n\r\n", GET, LAST).status == 200


def test_another_upgrade_is_ignored(site: LiveSite) -> None:
    h2c = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"
    )
    answers = ask(site, GET, HOST, h2c, b"\r\n", GET, LAST)
    assert answers.status == 200
    assert answers.body.count(b"Hello world!") == 2


@pytest.mark.parametrize("name", [b"Daphne-Root-Path", b"daphne-root-path"])
def test_a_client_cannot_set_the_root_path(site: LiveSite, name: bytes) -> None:
    header = name + b": /evil\r\n"
    assert ask(site, GET, header, LAST).status == 200
    line = b"GET /echo HTTP/1.1\r\n"
    answer = ask(site, line, HANDSHAKE, header, b"\r\n", CLOSE_FRAME)
    assert answer.status == 101


def test_an_underscore_does_not_pass_for_a_hyphen(site: LiveSite) -> None:
    answer = ask(site, b"GET /anything HTTP/1.1\r\nX_Real_Ip: 1.2.3.4\r\n" + LAST)
    assert "1.2.3.4" not in answer.body.decode()


# --- pipelining ------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(site: LiveSite) -> None:
    lines = [b"GET /user/search?username=u%d HTTP/1.1\r\n" % i for i in range(60)]
    with connect(site) as client:
        client.sendall(b"".join(line + HOST + b"\r\n" for line in lines))
        client.sendall(b"BREW / HTTP/1.1\r\n\r\n")
        data = read_to_end(client)
    names = re.findall(rb'"username":"(u\d+)"', data)
    assert names == [b"u%d" % i for i in range(60)]
    assert b"HTTP/1.1 501" in data.rpartition(names[-1])[2]


def test_requests_that_wait_for_an_answer_cost_no_memory(site: LiveSite) -> None:
    request = GET + HOST + b"\r\n"
    before = memory(site)
    with connect(site) as client:
        client.sendall(b"GET /feed/poll?wait=20 HTTP/1.1\r\n" + HOST + b"\r\n")
        client.settimeout(0.5)
        with contextlib.suppress(OSError):
            client.sendall(request * 200_000)
        assert memory(site) - before < GROWTH_BYTES


# --- the end ---------------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS)
def test_no_half_open_request_keeps_a_client_from_its_close_frame(
    server: str, tmp_path: Path
) -> None:
    name, arguments = SERVERS[server]
    with (
        LiveSite(name, tmp_path, arguments) as site,
        contextlib.ExitStack() as connections,
    ):
        keep = connections.enter_context
        half_open = [keep(connect(site)) for _ in range(7)]
        half_open[1].sendall(GET)
        half_open[2].sendall(GET_ECHO + HANDSHAKE)
        half_open[3].sendall(POST + HOST + b"Content-Length: 9\r\n\r\nabc")
        half_open[4].sendall(b"GET /echo?hang=10s HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
        half_open[5].sendall(GET_ECHO + HANDSHAKE + b"Content-Length: 9\r\n\r\nabc")
        half_open[6].sendall(GET_ECHO + HANDSHAKE + b"C: " + b"a" * 70_000)
        clients = [keep(Connection(site.port)) for _ in range(8)]
        for client in clients:
            client.send_frame(Opcode.TEXT, b"hello")
            assert client.frame() == text("hello")
        feed = keep(Connection(site.port, "/feed/ws"))
        assert site.process is not None
        site.process.terminate()
        for client in clients:
            assert client.frame() == close(1012)
            client.send_frame(Opcode.CLOSE, close(1012).payload)
        while (frame := feed.frame()).opcode != Opcode.CLOSE:
            last = json.loads(frame.payload)
        assert (last["type"], frame.payload[:2]) == ("bye", close(4001).payload[:2])
        feed.send_frame(Opcode.CLOSE, frame.payload)
        site.wait_for_end()
        assert "Traceback" not in site.log, site.log


def test_a_proxy_that_is_trusted_sets_the_root_path(tmp_path: Path) -> None:
    site = LiveSite("daphne", tmp_path)
    site.command = [sys.executable, "-m", "echo.servers", "-p", str(site.port)]
    site.command += ["--proxy-headers", "wsdemo.asgi:application"]
    with site:
        wait_until(site.answers, "Daphne to listen")
        line = b"GET /prefix/echo HTTP/1.1\r\nDaphne-Root-Path: /prefix\r\n"
        assert ask(site, line + LAST).status == 426
