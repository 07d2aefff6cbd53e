"""Both load generators compare every echo, and say what a server did in place of it."""

import http.server
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection
from websockets.uri import WebSocketURI, parse_uri

from echo.load import generator
from echo.load.errors import LoadError, Unavailable
from echo.load.fallback import PythonLoad
from echo.load.generator import Load
from echo.tests.live import free_port
from echo.tests.load.server import ToldServer

Respond = Callable[[ServerConnection, str | bytes], None]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1024 * 1024])
def test_every_echo_is_counted(
    load: Load | PythonLoad, server: ToldServer, size: int
) -> None:
    load.open(server.uri("/echo"), 3)
    assert load.echo(b"x" * size, 0.05).replies >= 3
    assert load.echo(b"x" * size, 0.05, text=True).replies >= 3


def change(connection: ServerConnection, message: str | bytes) -> None:
    assert isinstance(message, bytes)
    connection.send(message[:-1] + b"?")


def double(connection: ServerConnection, message: str | bytes) -> None:
    connection.send(message)
    connection.send(message)


def say_first(connection: ServerConnection, message: str | bytes) -> None:
    connection.send("first")
    connection.send(message)


def close(connection: ServerConnection, message: str | bytes) -> None:
    connection.close(1011, "out of order")


def cut(connection: ServerConnection, message: str | bytes) -> None:
    connection.socket.close()


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (change, "expected the echo of 5 bytes, got 5 bytes.*hell\\?"),
        (say_first, "expected the echo of 5 bytes, got 5 bytes.*first"),
        (close, "closed.*1011.*out of order"),
        (cut, "no close frame"),
    ],
)
def test_anything_but_the_echo_fails_the_run(
    load: Load | PythonLoad, server: ToldServer, respond: Respond, reason: str
) -> None:
    server.respond = respond
    load.open(server.uri("/echo"), 2)
    with pytest.raises(LoadError, match=reason):
        load.echo(b"hello", 0.5)


@pytest.mark.parametrize("silence_seconds", [2.0])
def test_an_echo_that_never_comes_fails_the_run(
    load: Load | PythonLoad, server: ToldServer
) -> None:
    server.respond = lambda connection, message: None
    load.open(server.uri("/echo"), 2)
    with pytest.raises(LoadError, match="nothing has come for 2 s"):
        load.echo(b"hello", 0)


def test_an_echo_that_comes_twice_fails_the_run(
    load: Load | PythonLoad, server: ToldServer
) -> None:
    def exchange() -> None:
        load.echo(b"hello", 0)
        load.echo(b"end", 0)  # the second "hello" comes before this one's echo

    server.respond = double
    load.open(server.uri("/echo"), 2)
    with pytest.raises(LoadError, match="too many|expected the echo of 3.*hello"):
        exchange()


def test_an_echo_of_another_type_fails_the_run(
    c_load: Load, server: ToldServer
) -> None:
    server.respond = lambda connection, message: connection.send(message, text=True)
    c_load.open(server.uri("/echo"), 2)
    with pytest.raises(LoadError, match="opcode 1"):
        c_load.echo(b"hello", 0.1)


def test_pings_during_an_echo_are_answered(
    load: Load | PythonLoad, server: ToldServer
) -> None:
    pongs: list[threading.Event] = []

    def ping_first(connection: ServerConnection, message: str | bytes) -> None:
        pongs.append(connection.ping())
        connection.send(message)

    server.respond = ping_first
    load.open(server.uri("/echo"), 1)
    load.echo(b"hello", 0.1)
    load.echo(b"hello", 0.1)  # the last pong has gone by now
    assert all(pong.wait(10) for pong in pongs[:-1])


# --- opening ---------------------------------------------------------------------------


def test_nobody_listening_is_an_error_with_a_remedy(load: Load | PythonLoad) -> None:
    with pytest.raises(LoadError, match="Connection refused: start it, or mend"):
        load.open(parse_uri(f"ws://127.0.0.1:{free_port()}/"), 1)


def test_a_host_without_an_address_is_an_error(load: Load | PythonLoad) -> None:
    with pytest.raises(LoadError, match="nobody.invalid"):
        load.open(parse_uri("ws://nobody.invalid/"), 1)


def test_a_refused_handshake_is_an_error_with_its_reason(
    load: Load | PythonLoad, server: ToldServer
) -> None:
    server.refusals = [HTTPStatus.NOT_FOUND]
    with pytest.raises(LoadError, match="expected 101.*404.*not now"):
        load.open(server.uri("/"), 1)


def test_a_busy_server_is_tried_again_so_often(
    c_load: Load, server: ToldServer
) -> None:
    server.refusals = [HTTPStatus.SERVICE_UNAVAILABLE] * 3
    opened = c_load.open(server.uri("/"), 4, greetings=1, retries=3)
    assert (opened.refused, c_load.count) == (3, 4)
    server.refusals = [HTTPStatus.SERVICE_UNAVAILABLE] * 3
    with pytest.raises(LoadError, match="expected 101.*503"):
        c_load.open(server.uri("/"), 4, greetings=1, retries=2)


@pytest.mark.parametrize("silence_seconds", [2.0])
def test_a_greeting_that_never_comes_fails_the_run(
    load: Load | PythonLoad, server: ToldServer
) -> None:
    with pytest.raises(LoadError, match="nothing has come for 2 s"):
        load.open(server.uri("/echo"), 2, greetings=1)


def test_connections_can_be_opened_again_after_a_cut(
    c_load: Load, server: ToldServer
) -> None:
    c_load.open(server.uri("/echo"), 3)
    c_load.cut()
    assert c_load.count == 0
    c_load.open(server.uri("/echo"), 2)
    assert c_load.echo(b"hello", 0.05).replies >= 2


# --- HTTP ------------------------------------------------------------------------------


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers /sized and /chunked, and 404 elsewhere."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/sized", "/chunked") else 404)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n0\r\n\r\n")
        else:
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def http_uri() -> Iterator[WebSocketURI]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as web:
        thread = threading.Thread(target=web.serve_forever)
        web.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread.start()
        yield parse_uri(f"ws://127.0.0.1:{web.server_port}/")
        web.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/sized", "/chunked"])
def test_responses_are_counted(c_load: Load, http_uri: WebSocketURI, path: str) -> None:
    c_load.open_plain(http_uri, 2)
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    assert c_load.request(request, 200, 0.05).replies >= 2
    c_load.cut()


def test_another_status_fails_the_run(c_load: Load, http_uri: WebSocketURI) -> None:
    c_load.open_plain(http_uri, 2)
    with pytest.raises(LoadError, match="expected 200, got HTTP/1.1 404"):
        c_load.request(b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n", 200, 0.05)


# --- building --------------------------------------------------------------------------


def test_the_generator_is_built_once(c_load: Load, tmp_path: Path) -> None:
    program = generator.build(tmp_path)
    built_at = program.stat().st_mtime_ns
    assert generator.build(tmp_path) == program
    assert program.stat().st_mtime_ns == built_at
    assert [*tmp_path.iterdir()] == [program]


def test_without_a_compiler_it_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"no cc.*gcc"):
        generator.build(tmp_path)


def test_a_compiler_that_fails_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho no stdio.h >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no stdio.h"):
        generator.build(tmp_path)


def test_a_directory_that_cannot_be_made_makes_it_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="file"):
        generator.build(tmp_path / "file" / "var")
