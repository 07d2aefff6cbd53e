"""Opening a connection: TLS with and without trust, and proxies."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest
import trustme

from echo.client.errors import ExitCode
from echo.client.proxy import is_loopback
from echo.tests.client.peers import RawServer
from echo.tests.client.shell import run, run_here
from echo.tests.live import LiveSite


class RawTls(RawServer):
    """A server without TLS: it reads the first bytes of the handshake, and disconnects."""

    def __init__(self) -> None:
        super().__init__(lambda request: b"")

    def _converse(self, connection: socket.socket) -> None:
        connection.recv(65536)


@dataclass(frozen=True)
class SecureSite:
    """The site on wss, with a certificate for localhost that no system trusts."""

    address: str
    authority: str


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureSite]:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "secure.test")
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "certificate.pem"))
    arguments = (
        *("--ssl-keyfile", str(directory / "key.pem")),
        *("--ssl-certfile", str(directory / "certificate.pem")),
    )
    names = {"ALLOWED_HOSTS": "localhost,127.0.0.1,secure.test"}
    with LiveSite("uvicorn", directory, arguments, **names) as live:
        yield SecureSite(f"localhost:{live.port}", str(directory / "authority.pem"))


# --- TLS -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["wss", "https"])
def test_a_trusted_certificate_opens_the_connection(
    scheme: str, secure: SecureSite
) -> None:
    result = run(
        f"{scheme}://{secure.address}/echo", "-x", "hi", SSL_CERT_FILE=secure.authority
    )
    assert (result.code, result.err, result.received) == (0, "", ["hi"])
    assert result.lines[0] == f"connecting to wss://{secure.address}/echo"


def test_an_untrusted_certificate_is_refused(secure: SecureSite) -> None:
    result = run(f"wss://{secure.address}/echo", "-x", "hi")
    assert (result.code, result.received) == (1, [])
    assert "expected a trusted certificate" in result.err
    assert "-k accepts any" in result.err


def test_a_certificate_for_another_host_is_refused(secure: SecureSite) -> None:
    address = secure.address.replace("localhost", "127.0.0.1")
    result = run(f"wss://{address}/echo", SSL_CERT_FILE=secure.authority)
    assert result.code == 1
    assert "certificate is not valid for '127.0.0.1'" in result.err


def test_any_certificate_is_accepted_when_asked_to(secure: SecureSite) -> None:
    address = secure.address.replace("localhost", "127.0.0.1")
    result = run("-k", f"wss://{address}/echo", "-x", "hi", "--trace")
    assert (result.code, result.received) == (0, ["hi"])
    assert r"→ GET /echo HTTP/1.1\r\n" in result.lines  # as it is inside of TLS


def test_tls_to_a_plain_server_is_an_error(uvicorn: LiveSite) -> None:
    result = run(f"wss://localhost:{uvicorn.port}/echo")
    assert result.code == 1
    assert "cannot connect" in result.err or "is it a ws:// server?" in result.err
    assert "Traceback" not in result.err


# --- proxies ---------------------------------------------------------------------------


class ForwardProxy:
    """An HTTP proxy that tunnels every request to one server."""

    def __init__(self, port: int, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> None:
        self._port = port
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.asked: list[str] = []

    def __enter__(self) -> "ForwardProxy":
        self._thread.start()
        starting = asyncio.start_server(self._tunnel, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.url = "http://127.0.0.1:{}".format(
            *self._server.sockets[0].getsockname()[1:]
        )
        return self

    def __exit__(self, *exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode().split("\r\n")[0])
        writer.write(self._answer)
        if b" 200 " in self._answer:
            there = await asyncio.open_connection("localhost", self._port)
            await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
        writer.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def test_a_proxy_of_the_environment_is_used(uvicorn: LiveSite) -> None:
    with ForwardProxy(uvicorn.port) as proxy:
        result = run("ws://localhost.test/echo", "-x", "hi", http_proxy=proxy.url)
    assert (result.code, result.received) == (0, ["hi"])
    assert proxy.asked == ["CONNECT localhost.test:80 HTTP/1.1"]


def test_tls_goes_through_a_proxy(secure: SecureSite) -> None:
    with ForwardProxy(int(secure.address.split(":")[1])) as proxy:
        result = run(
            *("wss://secure.test/echo", "-x", "hi"),
            https_proxy=proxy.url,
            SSL_CERT_FILE=secure.authority,
        )
    assert (result.code, result.err, result.received) == (0, "", ["hi"])
    assert proxy.asked == ["CONNECT secure.test:443 HTTP/1.1"]


def test_a_proxy_that_refuses_is_an_error() -> None:
    with ForwardProxy(0, b"HTTP/1.1 407 Who are you\r\n\r\n") as proxy:
        result = run("ws://localhost.test/echo", http_proxy=proxy.url)
    assert result.code == 1
    assert "expected 200 from the proxy" in result.err
    assert "got HTTP/1.1 407 Who are you" in result.err


def test_a_proxys_response_is_escaped() -> None:
    said = b"HTTP/1.1 407 \x1b[31mred\x07\x9b2J" + b"x" * 60_000
    with ForwardProxy(0, said + b"\r\n\r\n") as proxy:
        result = run("ws://localhost.test/echo", http_proxy=proxy.url)
    assert result.code == 1
    assert r"got HTTP/1.1 407 \x1b[31mred\x07\x9b2Jxxx" in result.err
    assert len(result.err) < 500
    assert result.err.rstrip("\n").isprintable()


def test_a_proxys_address_is_escaped() -> None:
    result = run("ws://localhost.test/echo", http_proxy="http://127.0.0.1:\x1b[31m/")
    assert result.code == 1
    assert r"got http://127.0.0.1:\x1b[31m/" in result.err


@pytest.mark.parametrize(
    ("answer", "then", "code", "reason"),
    [
        (
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50_000,
            "reads",
            1,
            "expected HTTP from",
        ),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", "ignores", 4, "got no whole answer"),
        (b"", "ignores", 4, "got no whole answer"),
        (b"", "leaves", 1, "expected HTTP from the proxy"),
    ],
    ids=["endless head", "half a head", "silence", "no head"],
)
def test_an_endless_response_of_a_proxy_is_an_error(
    answer: bytes, then: Literal["reads", "leaves", "ignores"], code: int, reason: str
) -> None:
    with RawServer(lambda request: answer, then) as proxy:
        result = run(
            *("ws://localhost.test/echo", "--timeout", timeout(code)),
            http_proxy=f"http://{proxy.address}",
        )
    assert (result.code, reason in result.err) == (code, True), result.err


def timeout(code: int) -> str:
    """Return a short timeout if it is what ends the run."""
    return "1s" if code == ExitCode.TIMEOUT else "60s"


# --- servers without an end ------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (b"HTTP/1.1 101 X\r\n" + b"A: b\r\n" * 500, 1, "no more than 128 headers"),
        (b"HTTP/1.1 101 X\r\nA: " + b"b" * 70_000, 1, "no more than 8192 bytes"),
        (b"HTTP/1.1 101 " + b"x" * 70_000, 1, "no more than 8192 bytes"),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 500, 1, "got 102 Processing"),
        (b"HTTP/1.1 403 No\r\n\r\n" + b"x" * 1_100_000, 1, "no more than 1048576"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 9999999999\r\n\r\n", 1, "too large"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nx", 4, "got no whole answer"),
        (b"HTTP/1.1 101 X\r\nA: b\r\n", 4, "got no whole answer"),
    ],
    ids=["head", "line", "status", "1xx", "body", "length", "half body", "half head"],
)
def test_an_endless_response_of_a_server_is_an_error(
    answer: bytes, code: int, reason: str
) -> None:
    with RawServer(lambda request: answer, "ignores") as server:
        result = run_here(server.address, "--timeout", timeout(code))
    assert (result.code, reason in result.err) == (code, True), result.err


def test_a_server_that_ends_the_tls_handshake_is_named_as_the_reason() -> None:
    with RawTls() as server:
        result = run_here(f"wss://{server.address}")
    assert result.code == 1
    assert "ended the connection during the TLS handshake" in result.err
    assert "is it a ws:// server?" in result.err


def test_a_proxy_that_is_none_is_an_error() -> None:
    result = run("ws://localhost.test/echo", http_proxy="socks5://127.0.0.1:1")
    assert result.code == 1
    assert "expected a proxy such as http://host:port" in result.err


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_loopback_never_goes_through_a_proxy(host: str, uvicorn: LiveSite) -> None:
    nobody = "http://127.0.0.1:1"
    result = run(
        *(f"{host}:{uvicorn.port}/echo", "-x", "hi"),
        http_proxy=nobody,
        HTTP_PROXY=nobody,
        all_proxy=nobody,
        no_proxy="",
    )
    assert (result.code, result.received) == (0, ["hi"])


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("site.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
    ],
)
def test_loopback_is_this_machine_under_any_of_its_names(
    host: str, loopback: bool
) -> None:
    assert is_loopback(host) is loopback
