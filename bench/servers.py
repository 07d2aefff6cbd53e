"""Starts the servers to measure, each as its documentation says."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
START_SECONDS = 30.0
STOP_SECONDS = 10.0

PYTHON = [sys.executable, "-m"]
OURS = "wsdemo.asgi:application"
STOCK = "bench.peers.stock:application"
GORILLA = VAR / "gorilla-echo"

COMMANDS: dict[str, list[str]] = {
    "daphne, stock": [*PYTHON, "daphne", "-p", "{port}", STOCK],
    "daphne, ours": [*PYTHON, "echo.servers", "-p", "{port}", OURS],
    "uvicorn, stock": [*PYTHON, "uvicorn", "--port", "{port}", STOCK],
    "uvicorn, ours": [*PYTHON, "uvicorn", "--port", "{port}", OURS],
    "gorilla": [str(GORILLA), "-addr", "127.0.0.1:{port}"],
}
# As in production: no debugging, nothing logged for a message.
ENVIRONMENT = {
    "DEBUG": "off",
    "SECRET_KEY": "measured-and-thrown-away-" * 3,
    "ALLOWED_HOSTS": "127.0.0.1",
    "DATABASE_URL": f"sqlite:///{VAR / 'bench.sqlite3'}",
    "GOMAXPROCS": "1",
}


def build_gorilla() -> str:
    """Build the Go peer; return what is missing for it, or ""."""
    if not (go := shutil.which("go")):
        return "no Go on this machine (Debian: golang-go)"
    built = subprocess.run(
        [go, "build", "-o", str(GORILLA), "main.go"],
        cwd=ROOT / "bench" / "peers" / "gorilla",
        env=os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        return "no gorilla (Debian: golang-github-gorilla-websocket-dev)"
    return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    process: int

    def cpu_seconds(self) -> float:
        """Return the processor time of its threads, to the nanosecond (proc(5))."""
        tasks = Path(f"/proc/{self.process}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def running(name: str, core: int | None = None, **environment: str) -> Iterator[Server]:
    """Run the named server as a process, on one core if given."""
    port = free_port()
    command = [part.format(port=port) for part in COMMANDS[name]]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    log_path = VAR / f"bench-{name.replace(', ', '-')}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | ENVIRONMENT | environment,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not listen:\n{log_path.read_text()}")
            time.sleep(0.05)
        yield Server(port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
