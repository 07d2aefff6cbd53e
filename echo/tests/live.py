"""Starts the site as real server processes, for tests over sockets."""

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import trustme

from echo.tests import forks
from echo.tests.forks import ROOT

# How long what must happen is waited for, on a machine however slow or busy: no test waits
# this long unless it fails.
PATIENCE_SECONDS = 60.0

COMMANDS: dict[str, list[str]] = {
    "daphne": [sys.executable, "manage.py", "runserver", "--noreload", "{port}"],
    "uvicorn": [
        sys.executable,
        "-m",
        "uvicorn",
        "wsdemo.asgi:application",
        "--port",
        "{port}",
    ],
}
# `runserver` has no TLS.
TLS_COMMANDS: dict[str, list[str]] = {
    "daphne": [
        sys.executable,
        "-m",
        "echo.servers",
        "-e",
        "ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}",
        "wsdemo.asgi:application",
    ],
    "uvicorn": [
        *COMMANDS["uvicorn"],
        "--ssl-keyfile={key}",
        "--ssl-certfile={certificate}",
    ],
}


# Below the range from which the system gives ports to clients (ip_local_port_range), which
# could take a server's port between the moment it is chosen and the moment it listens.
PORTS = range(12_000, 32_000)
BLOCK = 100


@cache
def own_ports() -> Iterator[int]:
    """Claim a block of ports for this process; return its ports, over and over.

    The process listens on the first one, so that no other gets the block: not another
    worker of a parallel run, and not another run on this machine.
    """
    for first in PORTS[::BLOCK]:
        sign = socket.socket()
        try:
            sign.bind(("127.0.0.1", first))
            sign.listen()
        except OSError:
            sign.close()
            continue
        atexit.register(sign.close)
        return itertools.cycle(range(first + 1, first + BLOCK))
    raise AssertionError(f"no block of ports is free from {PORTS[0]} to {PORTS[-1]}")


def free_port() -> int:
    """Return a free port, which no other process of the tests gets."""
    for port in own_ports():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("unreachable: the cycle of ports never ends")


def wait_until(
    condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS
) -> Any:
    """Return the condition's first true value. Fails with ``what`` if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.02)
    return value


@cache
def migrated_database() -> Path:
    """Return an SQLite file that has the site's tables, to be copied: made once."""
    directory = Path(tempfile.mkdtemp(prefix="migrated-"))
    atexit.register(shutil.rmtree, directory)
    LiveSite("uvicorn", directory).manage("migrate", "-v0")
    return directory / "db.sqlite3"


class LiveSite:
    """One server process, with its own database and log file in ``directory``.

    ``server`` is "daphne" (manage.py runserver) or "uvicorn"; ``environment`` is added to the
    test's own. Several nodes share a database if they get its DATABASE_URL.
    """

    # Else the process is forked from one that has imported the packages.
    has_own_interpreter = False
    # The context of its clients, if the site uses TLS.
    tls: ssl.SSLContext | None = None

    def __init__(
        self,
        server: str,
        directory: Path,
        arguments: tuple[str, ...] = (),
        /,
        **environment: str,
    ) -> None:
        self.server = server
        self.port = free_port()
        self.log_path = directory / f"{server}-{self.port}.log"
        self.environment = (
            {key: value for key, value in os.environ.items() if key != "REDIS_URL"}
            | {"DATABASE_URL": f"sqlite:///{directory / 'db.sqlite3'}"}
            | {"PYTHONUNBUFFERED": "1", "DJANGO_SETTINGS_MODULE": "wsdemo.settings"}
            | environment
        )
        self.command = [part.format(port=self.port) for part in COMMANDS[server]]
        self.command += arguments
        self.process: forks.ForkedProcess | subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """The process's output so far."""
        return (
            self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        )

    def __enter__(self) -> "LiveSite":
        self.migrate()
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def migrate(self) -> None:
        """Give the site its tables; a new SQLite file is a copy of one that has them."""
        kind, path = self.environment["DATABASE_URL"].split("://")
        if kind == "sqlite" and not Path(path[1:]).exists():
            shutil.copy(migrated_database(), path[1:])
        else:
            self.manage("migrate", "-v0")

    def manage(self, *arguments: str) -> str:
        """Run ``manage.py`` with this site's environment; return its output."""
        command = [sys.executable, "manage.py", *arguments]
        return forks.run(command, env=self.environment, check=True).stdout.decode()

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Return the answer to a GET, on a connection of its own."""
        return httpx.get(
            f"{self.url}{path}", timeout=PATIENCE_SECONDS, trust_env=False, **options
        )

    def start(self) -> None:
        """Start the process, and wait until it accepts connections."""
        start = subprocess.Popen if self.has_own_interpreter else forks.Process
        with self.log_path.open("ab") as log:
            self.process = start(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self.answers, f"{self.server} to listen:\n{self.log}")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.server} has died:\n{self.log}"
        try:
            socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS).close()
        except OSError:
            return False
        return True

    def stop(
        self, sign: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE_SECONDS
    ) -> int:
        """Send the signal, wait for the end, and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.wait_for_end(seconds)

    def wait_for_end(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for the end after a signal, and return the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.server} did not stop:\n{self.log}") from None


class CommandSite(LiveSite):
    """The same with an interpreter of its own, as its command starts it in a shell."""

    has_own_interpreter = True


class SecureSite(LiveSite):
    """A site over TLS, with a certificate that only its ``tls`` trusts."""

    def __init__(
        self,
        server: str,
        directory: Path,
        arguments: tuple[str, ...] = (),
        /,
        **environment: str,
    ) -> None:
        super().__init__(server, directory, arguments, **environment)
        authority = trustme.CA()
        identity = authority.issue_cert("127.0.0.1")
        key, certificate = directory / "key.pem", directory / "certificate.pem"
        identity.private_key_pem.write_to_path(key)
        identity.cert_chain_pems[0].write_to_path(certificate)
        self.tls = ssl.create_default_context()
        authority.configure_trust(self.tls)
        self.command = [
            part.format(port=self.port, key=key, certificate=certificate)
            for part in TLS_COMMANDS[server]
        ]
        self.command += arguments

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")

    @property
    def ws_url(self) -> str:
        return super().ws_url.replace("ws:", "wss:")
