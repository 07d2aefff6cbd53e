"""The servers to measure, and how each is started: as its documentation says."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench import peers

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
# The server has one core; the load, Redis and the publishers have the other.
SERVER_CORE, LOAD_CORE = 0, 1
# The log of a measured server, and the empty one that it is a copy of.
DATABASE, TEMPLATE = VAR / "bench.sqlite3", VAR / "bench-template.sqlite3"
START_SECONDS = 30.0
STOP_SECONDS = 10.0

PYTHON = [sys.executable, "-m"]
UVICORN = [*PYTHON, "uvicorn", "--port", "{port}"]
# As in production: no debugging, nothing logged for a message. The limits on one address
# and one publisher are out of the way, because the whole load comes from one.
ENVIRONMENT = {
    "DEBUG": "off",
    "HTTPS": "off",
    "SECRET_KEY": "measured-and-thrown-away-" * 3,
    "ALLOWED_HOSTS": "127.0.0.1",
    "ECHO_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
    "FEED_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
    "FEED_HISTORY_READS_PER_SECOND": "1000000",
    "FEED_PUBLISHES_PER_SECOND": "1000000",
    "REDIS_URL": "",
    "GOMAXPROCS": "1",
    "DATABASE_URL": f"sqlite:///{DATABASE}",
}


@dataclass(frozen=True)
class Contestant:
    """A server that can be measured."""

    name: str  # in the report, and for --only
    command: list[str]
    # Is given a reason in a few words if the server cannot be had, else "".
    missing: Callable[[], str] = lambda: ""
    environment: dict[str, str] = field(default_factory=dict)
    # The path of the readers' WebSockets, and how many messages greet each.
    path: str = "/"
    greetings: int = 0
    # What a reader sends after the handshake.
    first: bytes = b""
    needs_redis: bool = False
    keeps_order: bool = True

    @property
    def is_ours(self) -> bool:
        return self.path == "/feed/ws"


def ours(name: str, command: list[str], *, needs_redis: bool = False) -> Contestant:
    return Contestant(
        name, command, path="/feed/ws", greetings=1, needs_redis=needs_redis
    )


def stock(server: str, command: list[str], layer: str) -> Contestant:
    return Contestant(
        f"{server}, stock" + (f", {layer}" if layer else ""),
        [*command, "bench.peers.stock:application"],
        environment={"BENCH_LAYER": layer},
        needs_redis=layer in ("pubsub", "core"),
        keeps_order=False,
    )


DAPHNE_OURS = [*PYTHON, "echo.servers", "-p", "{port}", "wsdemo.asgi:application"]
UVICORN_OURS = [*UVICORN, "wsdemo.asgi:application"]
GO = [str(peers.GO), "-addr", "127.0.0.1:{port}"]
VENV_PYTHON = str(peers.VENV / "bin" / "python")
PEERS = str(ROOT / "bench" / "peers")

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        ours("uvicorn, ours", UVICORN_OURS),
        ours("daphne, ours", DAPHNE_OURS),
        ours("uvicorn, ours, Redis", UVICORN_OURS, needs_redis=True),
        ours("daphne, ours, Redis", DAPHNE_OURS, needs_redis=True),
        Contestant("Go", GO, peers.build_go),
        Contestant("Go, prepared", [*GO, "-prepared"], peers.build_go),
        Contestant("Go, prepared, joined", [*GO, "-prepared", "-join"], peers.build_go),
        Contestant(
            "uWebSockets",
            [VENV_PYTHON, f"{PEERS}/socketify_peer.py", "{port}"],
            lambda: peers.install("socketify"),
        ),
        Contestant(
            "picows",
            [VENV_PYTHON, f"{PEERS}/picows_peer.py", "{port}"],
            lambda: peers.install("picows"),
        ),
        Contestant(
            "Node ws",
            ["node", f"{PEERS}/ws_peer.cjs", "{port}"],
            peers.install_ws,
            environment={"NODE_PATH": str(peers.NODE_MODULES)},
        ),
        Contestant(
            "python-socketio",
            [VENV_PYTHON, f"{PEERS}/socketio_peer.py", "{port}"],
            lambda: peers.install("python-socketio"),
            path="/socket.io/?EIO=4&transport=websocket",
            greetings=2,
            first=b"40",
        ),
        *(
            stock(server, command, layer)
            for server, command in (
                ("uvicorn", UVICORN),
                ("daphne", [*PYTHON, "daphne", "-p", "{port}"]),
            )
            for layer in ("", "memory", "pubsub", "core")
        ),
    )
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def cpu_seconds(process: int) -> float:
    """Return the processor time of a process's threads, to the nanosecond (proc(5))."""
    total = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


@dataclass(frozen=True)
class Server:
    """A running server."""

    contestant: Contestant
    port: int
    process: int

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process)

    def loop_seconds(self) -> float:
        """Return the processor time of the main thread, which runs the event loop."""
        schedstat = Path(f"/proc/{self.process}/task/{self.process}/schedstat")
        return int(schedstat.read_text().split()[0]) / 1e9

    def memory_bytes(self) -> int:
        """Return the resident set (proc(5), statm)."""
        pages = int(Path(f"/proc/{self.process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running(
    contestant: Contestant,
    environment: dict[str, str],
    core: int | None = SERVER_CORE,
) -> Iterator[Server]:
    """Run a server as a process, on one core unless it is None."""
    port = free_port()
    command = [part.format(port=port) for part in contestant.command]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    log_path = VAR / f"bench-{contestant.name.replace(', ', '-').replace(' ', '-')}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | ENVIRONMENT | contestant.environment | environment,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{contestant.name} does not listen:\n{log_path.read_text()}"
                )
            time.sleep(0.05)
        yield Server(contestant, port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def manage(*arguments: str, **environment: str) -> str:
    """Run ``manage.py`` in the environment of the servers; return its output."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


MAKE_TOKEN = """
from echo.models import Token
token = Token(name="bench")
secret = token.renew_secret()
token.save()
print(f"{token.pk}.{secret}")
"""


@cache
def template_token() -> str:
    """Make the database that the others are copied from; return a token that may publish."""
    for path in VAR.glob(f"{TEMPLATE.name}*"):
        path.unlink()
    url = f"sqlite:///{TEMPLATE}"
    manage("migrate", "-v0", DATABASE_URL=url)
    return manage("shell", "-v0", "-c", MAKE_TOKEN, DATABASE_URL=url)


def renew_database() -> str:
    """Give the servers a new, empty log; return a token that may publish."""
    token = template_token()
    for path in VAR.glob(f"{DATABASE.name}*"):
        path.unlink()
    shutil.copy(TEMPLATE, DATABASE)
    return token
