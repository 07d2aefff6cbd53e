"""The ways to a server: TLS with and without trust, and proxies."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trustme

from echo.client.proxy import is_loopback
from echo.tests.client.shell import run
from echo.tests.live import LiveSite


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
    with LiveSite("uvicorn", directory, arguments) as live:
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
    """An HTTP proxy that tunnels to one server, whatever host it is asked for."""

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
