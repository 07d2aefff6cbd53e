"""The runs: each puts a load on one server and yields figures for rows of the report.

Whatever a server sends is checked: an event that is lost, doubled, changed or out of order,
an echo that differs in a byte, or a status that was not expected fails the run.
"""

import contextlib
import json
import math
import socket
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from websockets.uri import WebSocketURI, parse_uri

from bench import postgres
from bench.operator import operator, sign_in
from bench.servers import (
    CONTESTANTS,
    DATABASE,
    VAR,
    Contestant,
    Server,
    cpu_seconds,
    renew_database,
    running,
)
from echo.load.delivery import Publisher, deliver
from echo.load.errors import LoadError
from echo.load.generator import AT_ONCE, Load, Opened, frame, handshake
from echo.load.publishing import EVENTS_IN_A_REQUEST, FeedPublisher
from echo.tests.survival import backends

TIMEOUT_SECONDS = 30.0
OURS = ("uvicorn, ours", "daphne, ours")
# Those whose cost is measured as their readers grow.
GROWN = (*OURS, "Go", "uWebSockets")
# An event's data is 100 bytes of JSON.
TEXT = "0123456789abcdef" * 5
EVENTS_AT_ONCE = 10
# Rounds of a fan-out go on for so long, and are at least two and at most twenty.
FANOUT_SECONDS = 1.0
SINGLES = 7
ECHO_CLIENTS, ECHO_BYTES = 50, 64
HANDSHAKES = 1000
REQUEST_CLIENTS = 8
EXCHANGE_SECONDS = 1.5
WARM_UP_SECONDS = 0.3
IDLE_READERS = 2000
OWN_TOPIC_EVENTS = 1000
OPERATOR_TURNS = 2
STORM_CLIENTS, STORM_EVENTS, STORM_RETRIES = 2000, 500, 20_000


class Figure(NamedTuple):
    """One measurement of one server."""

    value: float  # in the row's unit
    cpu: float = math.nan  # the server's processor seconds for one unit of work
    load: float = math.nan  # the share of the time that the load was busy


class Result(NamedTuple):
    """A figure and its place in the report."""

    row: str
    contestant: str
    figure: Figure
    column: int = 0  # in rows that have several


class Redis:
    """One redis-server for the whole bench, on the load's core; started when first needed."""

    def __init__(self) -> None:
        self.server: backends.Redis | None = None

    @property
    def url(self) -> str:
        if self.server is None:
            self.server = backends.Redis()
            self.server.start()
        return self.server.url

    def close(self) -> None:
        if self.server is not None:
            self.server.close()


@dataclass(frozen=True)
class Bench:
    """One server with the load on it."""

    server: Server
    load: Load
    token: str  # may publish
    environment: dict[str, str]  # the server's own

    def result(self, row: str, figure: Figure, column: int = 0) -> Result:
        return Result(row, self.contestant.name, figure, column)

    @property
    def contestant(self) -> Contestant:
        return self.server.contestant

    def uri(self, path: str, port: int | None = None) -> WebSocketURI:
        return parse_uri(f"ws://127.0.0.1:{port or self.server.port}{path}")

    def open_readers(
        self,
        count: int,
        query: str = "",
        *,
        kinds: int = 1,
        at_once: int = AT_ONCE,
        retries: int = 0,
    ) -> Opened:
        """Open readers, ``{n}`` in the query being each one's kind."""
        contestant = self.contestant
        first = frame(contestant.first, text=True) if contestant.first else b""
        return self.load.open(
            self.uri(contestant.path + query),
            count,
            greetings=contestant.greetings,
            first=first,
            kinds=kinds,
            at_once=at_once,
            retries=retries,
        )

    def feed_publisher(self) -> FeedPublisher:
        return FeedPublisher(self.uri("/feed/ws"), self.token, TEXT)

    def publisher(self) -> "FeedPublisher | PeerPublisher":
        if self.contestant.is_ours:
            return self.feed_publisher()
        return PeerPublisher(self.server.port)

    def deliver(
        self, publisher: Publisher, topics: Sequence[str], readers: int | None = None
    ) -> float:
        """Publish an event on each topic; return how long until the last reader's last."""
        in_order = self.contestant.keeps_order
        return deliver(self.load, publisher, topics, readers=readers, in_order=in_order)


# --- fan-out ---------------------------------------------------------------------------


class PeerPublisher:
    """Publishes by the messages of one more WebSocket; the peers know no topics."""

    def __init__(self, port: int) -> None:
        address = ("127.0.0.1", port)
        self.socket = socket.create_connection(address, TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(handshake(parse_uri(f"ws://127.0.0.1:{port}/publish")))
        if b" 101 " not in (answer := self.socket.recv(65536)):
            raise LoadError(f"expected 101, got {answer!r}")

    def publish(self, topics: Sequence[str]) -> float:
        texts = [json.dumps({"n": n, "data": TEXT}) for n in range(len(topics))]
        frames = b"".join(frame(text.encode(), text=True) for text in texts)
        began = time.monotonic()
        self.socket.sendall(frames)
        return began

    def number(self, event: bytes) -> int:
        """Return an event's number; Socket.IO's events are ``42["event", TEXT]``."""
        text = json.loads(event.removeprefix(b"42"))
        return int((json.loads(text[1]) if isinstance(text, list) else text)["n"])

    def close(self) -> None:
        self.socket.close()


def deliver_batches(bench: Bench, publisher: Publisher) -> Figure:
    """Publish ten events at once, some times; return the deliveries a second."""
    meter = Meter(bench)
    batches: list[float] = []
    while len(batches) < 2 or len(batches) < 20 and sum(batches) < FANOUT_SECONDS:
        batches.append(bench.deliver(publisher, ["news"] * EVENTS_AT_ONCE))
    deliveries = EVENTS_AT_ONCE * bench.load.count
    cpu, load = meter.read(deliveries * len(batches))
    return Figure(deliveries / statistics.median(batches), cpu, load)


def fan_out(bench: Bench, readers: int) -> Iterator[Result]:
    """Publish ten events at once, and then single ones, to so many readers."""
    bench.open_readers(readers)
    publisher = bench.publisher()
    bench.deliver(publisher, ["news"])  # warm
    rate = deliver_batches(bench, publisher)
    yield bench.result("readers", Figure(rate.cpu * 1e6), readers)
    if readers == 5000:
        yield bench.result("fanout-5000", rate)
    if readers == 1000:
        yield bench.result("fanout", rate)
        meter = Meter(bench)
        singles = [bench.deliver(publisher, ["news"]) for _ in range(SINGLES)]
        cpu, load = meter.read(SINGLES)
        last = statistics.median(singles) * 1e3
        yield bench.result("single", Figure(last, cpu, load))
    publisher.close()


def nodes(bench: Bench, count: int) -> Iterator[Result]:
    """Publish ten events at once to 1,000 readers on one node, or on two that share them."""
    server, _, _ = bench.contestant.name.partition(",")
    name = f"{server}, {count} node" + ("s" if count > 1 else "")
    with contextlib.ExitStack() as stack:
        servers = [bench.server]
        for _ in range(count - 1):
            other = running(bench.contestant, bench.environment)
            servers.append(stack.enter_context(other))
        for node in servers:
            uri = bench.uri(bench.contestant.path, node.port)
            bench.load.open(uri, 1000 // count, greetings=1)
        publisher = bench.publisher()
        bench.deliver(publisher, ["news"])  # warm
        began = sum(server.cpu_seconds() for server in servers)
        times = [bench.deliver(publisher, ["news"] * EVENTS_AT_ONCE) for _ in range(20)]
        cpu = sum(server.cpu_seconds() for server in servers) - began
        deliveries = EVENTS_AT_ONCE * 1000
        rate = deliveries / statistics.median(times)
        yield Result("nodes", name, Figure(rate, cpu / deliveries / len(times)))
        publisher.close()


def watched(bench: Bench, readers: int) -> Iterator[Result]:
    """Fan out without an operator and with one, in turns."""
    session = sign_in()
    with operator(bench.server.port, session):
        pass  # the first responses compile the templates
    bench.open_readers(readers)
    publisher = bench.publisher()
    bench.deliver(publisher, ["news"])  # warm
    for _ in range(OPERATOR_TURNS):
        rate = deliver_batches(bench, publisher)
        yield Result("operator", "nobody watches", rate)
        with operator(bench.server.port, session) as latencies:
            rate = deliver_batches(bench, publisher)
        yield Result("operator", "an operator watches", rate)
        for latency in latencies:
            yield Result("operator-list", "list of connections", Figure(latency * 1e3))
    publisher.close()


class Meter:
    """Reads the processor time of the server and of the load since it was made."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.server = bench.server.cpu_seconds()
        self.load = cpu_seconds(bench.load.process.pid)
        self.at = time.monotonic()

    def read(self, units: int) -> tuple[float, float]:
        """Return the server's seconds for one unit, and the share that the load was busy."""
        server = self.bench.server.cpu_seconds() - self.server
        load = cpu_seconds(self.bench.load.process.pid) - self.load
        return server / units, load / (time.monotonic() - self.at)


def spread(bench: Bench, topics: int) -> Iterator[Result]:
    """Publish to 1,000 readers, each of whom reads one of so many topics."""
    names = [f"spread.{n}" for n in range(topics)]
    bench.open_readers(1000, "?topic=spread.{n}", kinds=topics)
    publisher = bench.publisher()
    bench.deliver(publisher, names)  # warm
    events = max(topics, EVENTS_IN_A_REQUEST)
    meter = Meter(bench)
    bench.deliver(publisher, names * (events // topics))
    cpu, _ = meter.read(events)
    yield bench.result("topics", Figure(cpu * 1e3), topics)
    publisher.close()


def own_topics(bench: Bench, connections: int) -> Iterator[Result]:
    """Publish events that have one reader each, among so many connections."""
    bench.open_readers(connections, "?topic=own.{n}", kinds=connections)
    publisher = bench.publisher()
    readers = min(connections, OWN_TOPIC_EVENTS)
    topics = [f"own.{n}" for n in range(readers)]
    bench.deliver(publisher, topics, readers)  # warm
    began = bench.server.loop_seconds()
    bench.deliver(publisher, topics * (OWN_TOPIC_EVENTS // readers), readers)
    seconds = (bench.server.loop_seconds() - began) / OWN_TOPIC_EVENTS
    yield bench.result("own-topics", Figure(seconds * 1e3), connections)
    publisher.close()


# --- connections -----------------------------------------------------------------------


def echo(bench: Bench) -> Iterator[Result]:
    """Send a message on each connection, and the next after its echo."""
    bench.load.open(bench.uri("/echo"), ECHO_CLIENTS)
    payload = (TEXT * 2)[:ECHO_BYTES].encode()
    bench.load.echo(payload, WARM_UP_SECONDS)
    meter = Meter(bench)
    count, seconds = bench.load.echo(payload, EXCHANGE_SECONDS)
    figure = Figure(count / seconds, *meter.read(count))
    bench.load.echo(b"end", 0)  # an echo that came twice would come before this one
    yield bench.result("echo", figure)


def handshakes(bench: Bench) -> Iterator[Result]:
    """Open connections, 100 at a time."""
    bench.open_readers(10)  # warm
    meter = Meter(bench)
    seconds = bench.open_readers(HANDSHAKES).seconds
    cpu, load = meter.read(HANDSHAKES)
    yield bench.result("handshakes", Figure(HANDSHAKES / seconds, cpu, load))


def memory(bench: Bench) -> Iterator[Result]:
    """Open idle readers, and see by how much the resident set grows."""
    bench.open_readers(100)  # warm
    before = bench.server.memory_bytes()
    bench.open_readers(IDLE_READERS)
    grown = bench.server.memory_bytes() - before
    yield bench.result("memory", Figure(grown / IDLE_READERS / 1024))


def storm(bench: Bench) -> Iterator[Result]:
    """Cut all clients at once; each comes back and resumes what it missed, and is live."""
    publisher = bench.feed_publisher()
    _, since = publisher.post([{"topic": "news", "data": 0}])
    bench.open_readers(STORM_CLIENTS)
    bench.load.cut()
    publisher.publish(["news"] * STORM_EVENTS)
    bench.load.expect(STORM_EVENTS, readers=STORM_CLIENTS)
    meter = Meter(bench)
    opened = bench.open_readers(
        STORM_CLIENTS,
        f"?since={since}",
        at_once=STORM_CLIENTS,
        retries=STORM_RETRIES,
    )
    last, (events,) = bench.load.collect()
    cpu, load = meter.read(STORM_CLIENTS)
    if [publisher.number(event) for event in events] != list(range(STORM_EVENTS)):
        raise LoadError("events were lost, doubled or out of order")
    bench.deliver(publisher, ["news"])  # live, and nothing comes twice
    yield bench.result("storm", Figure(last - meter.at, cpu, load))
    yield bench.result("refusals", Figure(opened.refused))
    publisher.close()


# --- HTTP ------------------------------------------------------------------------------


def publish(bench: Bench) -> Iterator[Result]:
    """Publish one event with each POST, and count those in the log."""
    body = json.dumps({"topic": "news", "data": {"n": 0, "data": TEXT}})
    request = (
        f"POST /feed/publish HTTP/1.1\r\nHost: 127.0.0.1:{bench.server.port}\r\n"
        f"Authorization: Bearer {bench.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    bench.load.open_plain(bench.uri("/"), REQUEST_CLIENTS)
    warm = bench.load.request(request.encode(), 201, WARM_UP_SECONDS).replies
    meter = Meter(bench)
    count, seconds = bench.load.request(request.encode(), 201, EXCHANGE_SECONDS)
    cpu, load = meter.read(count)
    with contextlib.closing(sqlite3.connect(DATABASE)) as database:
        rows = "SELECT count(*), max(number) - min(number) + 1 FROM echo_event"
        found = database.execute(rows).fetchone()
    if found != (warm + count, warm + count):
        raise LoadError(f"expected {warm + count} events in the log, got {found}")
    yield bench.result("publish", Figure(count / seconds, cpu, load))


def poll(bench: Bench) -> Iterator[Result]:
    """Ask for what is new when nothing is."""
    publisher = bench.feed_publisher()
    _, since = publisher.post([{"topic": "news", "data": 0}])
    answer = json.loads(publisher.request("GET", f"/feed/poll?since={since}")[1])
    if answer["events"] or answer["last_event_id"] != since:
        raise LoadError(f"expected no events after {since}, got {answer}")
    publisher.close()
    request = (
        f"GET /feed/poll?since={since} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{bench.server.port}\r\n\r\n"
    )
    bench.load.open_plain(bench.uri("/"), REQUEST_CLIENTS)
    bench.load.request(request.encode(), 200, WARM_UP_SECONDS)
    meter = Meter(bench)
    count, seconds = bench.load.request(request.encode(), 200, EXCHANGE_SECONDS)
    yield bench.result("poll", Figure(count / seconds, *meter.read(count)))


def durable(name: str, calls: int, redis: Redis) -> Iterator[Result]:
    """Publish to PostgreSQL from several processes."""
    yield Result("postgres", name, Figure(postgres.events_a_second(calls)))


# --- the plan --------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One measurement of one server."""

    # Of the report: figures for others are left out.
    rows: tuple[str, ...]
    contestant: str
    measure: Callable[[Redis], Iterator[Result]]
    # Returns why it cannot be measured here, in a few words, or "".
    missing: Callable[[], str]
    column: tuple[int, ...] = ()
    is_heavy: bool = False  # left out by --quick, and measured twice at most

    @property
    def name(self) -> str:
        return " ".join([*self.rows, *map(str, self.column), self.contestant])


def on_server(
    contestant: Contestant, measure: Callable[[Bench], Iterator[Result]]
) -> Callable[[Redis], Iterator[Result]]:
    """Return a function that measures a server which is started for it alone."""

    def start_and_measure(redis: Redis) -> Iterator[Result]:
        token = renew_database()
        environment = {"REDIS_URL": redis.url} if contestant.needs_redis else {}
        with running(contestant, environment) as server, Load(VAR) as load:
            yield from measure(Bench(server, load, token, environment))

    return start_and_measure


def plan() -> Iterator[Run]:
    """Yield all runs, those to be compared one after the other."""

    def on(
        names: Sequence[str],
        rows: str,
        measure: Callable[..., Iterator[Result]],
        *column: int,
        heavy: bool = False,
    ) -> Iterator[Run]:
        for name in names:
            contestant = CONTESTANTS[name]
            yield Run(
                tuple(r for r in rows.split() if r != "readers" or name in GROWN),
                name,
                on_server(contestant, lambda bench: measure(bench, *column)),
                contestant.missing,
                column,
                heavy or "stock, " in name,
            )

    layers = [n for n in CONTESTANTS if "stock, " in n]
    redis = [n for n in CONTESTANTS if "Redis" in n]
    go = [n for n in CONTESTANTS if n.startswith("Go")]
    stock = [n for n in CONTESTANTS if n.endswith("stock")]
    in_memory = [n for n in CONTESTANTS if n.endswith("stock, memory")]
    others = ["uWebSockets", "picows", "Node ws"]
    everybody = [*OURS, *redis, *go, *others, "python-socketio", *layers]
    yield from on(everybody, "fanout single readers", fan_out, 1000)
    yield from on(
        [*OURS, *go, *others], "fanout-5000 readers", fan_out, 5000, heavy=True
    )
    yield from on([*OURS, "Go", *others, *stock], "echo", echo)
    yield from on([*OURS, "Go", *others, *in_memory], "handshakes", handshakes)
    yield from on(OURS, "publish", publish)
    yield from on(OURS, "poll", poll)
    yield from on([*OURS, "Go", *others, *in_memory], "memory", memory)
    for calls in (1, 50):
        name = f"{postgres.PROCESSES} processes, {calls} call" + "s" * (calls > 1)
        yield Run(("postgres",), name, partial(durable, name, calls), postgres.missing)
    for connections in (1, 1000, 10_000):
        heavy = connections > 1000
        yield from on(OURS, "own-topics", own_topics, connections, heavy=heavy)
    yield from on(OURS, "storm refusals", storm)
    yield from on(GROWN, "readers", fan_out, 100)
    yield from on(GROWN, "readers", fan_out, 10_000, heavy=True)
    for topics in (1, 10, 100, 1000):
        yield from on(OURS, "topics", spread, topics)
    for count in (1, 2):
        yield from on(redis, "nodes", nodes, count)
    rows = "operator operator-list"
    yield from on(OURS[:1], rows, watched, 10_000, heavy=True)
