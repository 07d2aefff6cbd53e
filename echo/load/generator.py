"""Drives ``load.c``: builds it, sends it commands, and reads its answers."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from websockets.headers import build_host
from websockets.uri import WebSocketURI

from echo.load.errors import LoadError, Unavailable

SOURCE = Path(__file__).with_name("load.c")
# Any 16 bytes in base64: load.c knows the one right answer to it.
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
# Connections that are opened at a time.
AT_ONCE = 100
# A command fails when nothing has come for so long.
SILENCE_SECONDS = 30.0
# Any mask will do: it hides nothing, and is prescribed.
MASK = b"wsdm"


class Opened(NamedTuple):
    """How opening connections went."""

    seconds: float
    refused: int  # handshakes that were refused, and tried again


class Collected(NamedTuple):
    """The events of a round."""

    last: float  # when the last reader had its last one, by time.monotonic()
    events: list[list[bytes]]  # those of each of the first readers, one for each kind


class Exchanged(NamedTuple):
    """What came of sending messages and waiting for the reply to each."""

    replies: int
    seconds: float


def build(directory: Path) -> Path:
    """Compile load.c into the directory, if it is not there; return the program's path.

    Raises Unavailable.
    """
    if not sys.platform.startswith("linux"):
        raise Unavailable("not Linux, which it needs for epoll")
    name = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    program = directory / f"load-{name}"
    if program.exists():
        return program
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"no place to build it: {error}") from None
    if not (compiler := shutil.which("cc")):
        raise Unavailable(
            "no cc, which compiles it (Debian: apt-get install gcc libc6-dev)"
        )
    # Under a name of its own first: another process may be about to start the program.
    unfinished = directory / f"{program.name}-{os.getpid()}"
    compiled = subprocess.run(
        [compiler, "-O2", "-o", str(unfinished), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
    )
    if compiled.returncode:
        raise Unavailable(f"cc failed:\n{compiled.stderr.strip()[-400:]}")
    unfinished.replace(program)
    return program


class Load:
    """A running load generator and its connections. A context manager."""

    def __init__(
        self, directory: Path, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        """Start the program, which is built in the directory. Raises Unavailable."""
        # Answers come from stdout; stderr is for crashes, and stays the parent's.
        self.process = subprocess.Popen(
            [build(directory), str(silence_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        # How many connections are open.
        self.count = 0

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        with suppress(BrokenPipeError):  # a command that was never read
            self.stdin.close()
        self.stdout.close()
        self.process.wait()

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    # --- what the connections do -------------------------------------------------------

    def open(
        self,
        uri: WebSocketURI,
        count: int,
        *,
        greetings: int = 0,
        first: bytes = b"",
        at_once: int = AT_ONCE,
        kinds: int = 1,
        retries: int = 0,
    ) -> Opened:
        """Open more WebSockets, each until it has had its ``greetings``.

        ``{n}`` in the URI is the connection's number modulo ``kinds``; ``first`` is sent by
        each after the handshake. So many handshakes may be refused because the server is
        busy. Raises LoadError.
        """
        request = handshake(uri)
        began, ended, refused = self.command(
            f"open {count} {at_once} {greetings} {kinds} {retries} {len(request)} "
            f"{len(first)} {resolve(uri)} {uri.port}",
            request + first,
        )
        self.count += count
        return Opened(float(ended) - float(began), int(refused))

    def open_plain(self, uri: WebSocketURI, count: int) -> None:
        """Open TCP connections, for `request`. Raises LoadError."""
        self.command(f"open {count} {AT_ONCE} 0 1 0 0 0 {resolve(uri)} {uri.port}")
        self.count += count

    def expect(
        self,
        events: int,
        *,
        readers: int | None = None,
        kinds: int = 1,
        in_order: bool = True,
    ) -> None:
        """Expect so many events at each of the first readers (None: at all), and no others.

        Reader n must get the same ones as reader ``n % kinds``.
        """
        readers = self.count if readers is None else readers
        self.command(f"expect {events} {kinds} {readers} {int(in_order)}")

    def collect(self) -> Collected:
        """Wait until all expected events are there, and compared. Raises LoadError."""
        last, size = self.command("collect")
        found: dict[int, list[bytes]] = {}
        data = self.stdout.read(int(size))
        place = 0
        while place < len(data):
            start = data.index(b"\n", place) + 1
            reader, length = map(int, data[place:start].split())
            place = start + length
            found.setdefault(reader, []).append(data[start:place])
        return Collected(float(last), list(found.values()))

    def echo(self, payload: bytes, seconds: float, *, text: bool = False) -> Exchanged:
        """Send a message on each connection, and the next after its echo; at least one.

        Raises LoadError.
        """
        return self.exchange(seconds, 0, frame(payload, text=text), payload)

    def request(self, request: bytes, status: int, seconds: float) -> Exchanged:
        """Do the same with an HTTP request, whose response has the status."""
        return self.exchange(seconds, status, request, b"")

    def exchange(
        self, seconds: float, status: int, message: bytes, reply: bytes
    ) -> Exchanged:
        count, elapsed = self.command(
            f"exchange {seconds} {status} {len(message)} {len(reply)}", message + reply
        )
        return Exchanged(int(count), float(elapsed))

    def cut(self) -> float:
        """Reset all connections; return when."""
        (at,) = self.command("cut")
        self.count = 0
        return float(at)

    # --- the program -------------------------------------------------------------------

    def command(self, line: str, data: bytes = b"") -> list[str]:
        """Send a command; return the words of its answer. Raises LoadError."""
        with suppress(BrokenPipeError):  # it has failed, and its last line says why
            self.stdin.write(line.encode() + b"\n" + data)
            self.stdin.flush()
        name, _, rest = self.stdout.readline().decode(errors="replace").partition(" ")
        if name == "error":
            raise LoadError(
                (rest + self.stdout.read().decode(errors="replace")).strip()
            )
        if not name:
            raise LoadError(f"the load generator has died of {self.process.wait()}")
        return rest.split()


def resolve(uri: WebSocketURI) -> str:
    """Return the host's address as a number. Raises LoadError."""
    try:
        found = socket.getaddrinfo(uri.host, uri.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise LoadError(f"cannot resolve {uri.host}: {error.strerror}") from None
    # IPv4 first: `localhost` is both, and most servers listen there.
    return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])


def handshake(uri: WebSocketURI) -> bytes:
    """Return a WebSocket's opening request."""
    lines = [
        f"GET {uri.resource_name} HTTP/1.1",
        f"Host: {build_host(uri.host, uri.port, uri.secure)}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def frame(payload: bytes, *, text: bool) -> bytes:
    """Return a client's whole message in one frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | size])
    elif size < 1 << 16:
        head = bytes([0x80 | 126]) + size.to_bytes(2)
    else:
        head = bytes([0x80 | 127]) + size.to_bytes(8)
    masks = MASK * (size // 4 + 1)
    masked = int.from_bytes(payload) ^ int.from_bytes(masks[:size])
    return bytes([0x81 if text else 0x82]) + head + MASK + masked.to_bytes(size)


def url_of(uri: WebSocketURI) -> str:
    """Return an address as text."""
    scheme = "wss" if uri.secure else "ws"
    return f"{scheme}://{build_host(uri.host, uri.port, uri.secure)}{uri.resource_name}"
