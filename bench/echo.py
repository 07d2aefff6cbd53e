"""Measures echo messages per second: stock Channels, ours, and gorilla, in one run.

    python -m bench.echo --rounds 5 --seconds 2

Each server has one core, the load another. Every client sends a message, waits for its
echo, compares every byte, and sends the next. The servers take turns, round after round, so
that a busy moment of the machine affects all of them. The tables show medians: echoes per
second by the clock, and per second of the server's own processor time, which other load on
the machine hardly changes.
"""

import os
import select
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from bench.options import make_parser
from bench.servers import COMMANDS, Server, build_gorilla, running
from bench.wire import TIMEOUT_SECONDS, frame, upgrade

SERVER_CORE, LOAD_CORE = 0, 1
WARM_UP_SECONDS = 0.3
# (clients, bytes of payload)
SHAPES = ((50, 64), (1, 64), (50, 16 * 1024))
UNITS = {
    "clock": "messages/s",
    "server": "messages per second of the server's processor time",
}
RATIOS = (
    ("uvicorn, ours", "uvicorn, stock"),
    ("daphne, ours", "daphne, stock"),
    ("gorilla", "uvicorn, ours"),
)
Shape = tuple[int, int]


class Rate(NamedTuple):
    """Echoes per second: by the clock, of the server's processor time, of the load's."""

    clock: float
    server: float
    load: float


class Client:
    """One connection: a prepared message out, the prepared echo back."""

    def __init__(self, port: int, payload: bytes) -> None:
        self.message = frame(payload, mask=True)
        self.echo = frame(payload, mask=False)
        self.received = b""
        self.socket = upgrade(port, "/echo")

    def exchange(self) -> int:
        """Read; if the echo is whole send the next message and return 1, else return 0."""
        data = self.socket.recv(65536)
        if data != self.echo:
            if not self.completes(data):
                return 0
            self.received = b""
        self.socket.sendall(self.message)
        return 1

    def completes(self, data: bytes) -> bool:
        """Add a part of the echo; return True if it is whole. Fails on a wrong byte."""
        self.received += data
        if not data or not self.echo.startswith(self.received):
            raise RuntimeError(f"expected the echo, got {self.received[:80]!r}")
        return self.received == self.echo


def exchanges(server: Server, clients: list[Client], seconds: float) -> Rate:
    """Return the rate with one message of each client under way."""
    poll = select.epoll()
    by_number = {client.socket.fileno(): client for client in clients}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    for client in clients:
        client.socket.sendall(client.message)
    run_until(poll, by_number, time.perf_counter() + WARM_UP_SECONDS)
    started, cpu = time.perf_counter(), server.cpu_seconds()
    own = time.process_time()
    count = run_until(poll, by_number, started + seconds)
    elapsed = time.perf_counter() - started
    poll.close()
    return Rate(
        count / elapsed,
        count / (server.cpu_seconds() - cpu),
        count / (time.process_time() - own),
    )


def run_until(poll: select.epoll, clients: dict[int, Client], deadline: float) -> int:
    """Exchange messages until the deadline; return the number of echoes."""
    count = 0
    while time.perf_counter() < deadline:
        for number, _ in poll.poll(TIMEOUT_SECONDS):
            count += clients[number].exchange()
    return count


def measure(server: Server, shape: Shape, seconds: float) -> Rate:
    """Return the server's rate under one shape of load."""
    count, size = shape
    payload = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    with ExitStack() as stack:
        clients = [Client(server.port, payload) for _ in range(count)]
        for client in clients:
            stack.callback(client.socket.close)
        return exchanges(server, clients, seconds)


@dataclass(frozen=True)
class Table:
    """Medians by server and shape."""

    unit: str
    names: list[str]
    medians: dict[tuple[str, Shape], float]

    def lines(self) -> Iterator[str]:
        columns = [f"{clients} × {size} B" for clients, size in SHAPES]
        yield f"| {self.unit} | {' | '.join(columns)} |"
        yield "|---" + "|---:" * len(SHAPES) + "|"
        for name in self.names:
            row = (f"{self.medians[name, shape]:,.0f}" for shape in SHAPES)
            yield f"| {name} | {' | '.join(row)} |"
        for over, under in RATIOS:
            if over in self.names and under in self.names:
                row = (
                    f"{self.medians[over, shape] / self.medians[under, shape]:.1f} ×"
                    for shape in SHAPES
                )
                yield f"| *{over} / {under}* | {' | '.join(row)} |"


def main(arguments: list[str]) -> None:
    parser = make_parser(__doc__, rounds=5, servers=COMMANDS)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of each (default: 2)"
    )
    options = parser.parse_args(arguments)
    names = options.only or list(COMMANDS)
    if "gorilla" in names and (missing := build_gorilla()):
        print(f"gorilla is left out: {missing}")
        names.remove("gorilla")
    os.sched_setaffinity(0, {LOAD_CORE})
    results: dict[tuple[str, Shape], list[Rate]] = {}
    for _ in range(options.rounds):
        for name in names:
            with running(name, SERVER_CORE) as server:
                for shape in SHAPES:
                    rate = measure(server, shape, options.seconds)
                    results.setdefault((name, shape), []).append(rate)
    for field, unit in UNITS.items():
        medians = {
            key: statistics.median(getattr(rate, field) for rate in rates)
            for key, rates in results.items()
        }
        print("\n".join(Table(unit, names, medians).lines()), end="\n\n")
    slowest = min(rate.load for rates in results.values() for rate in rates)
    print(f"The load did at least {slowest:,.0f} messages per second of its own time.")


if __name__ == "__main__":
    main(sys.argv[1:])
