"""Measures what an operator on the admin's pages costs the feed, with 10,000 connections.

    python -m bench.operator --rounds 3

uvicorn has one core, the readers and the operator another. Each round fans events out
without an operator, and with one who has the list of connections and the page of nodes open:
both are fetched every two seconds, as the pages do, and the graph's figures are read. The
table shows the medians of all rounds, the share of the fan-out that is left with an operator,
and the response time of the list.
"""

import http.client
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from bench.echo import LOAD_CORE, SERVER_CORE
from bench.fanout import Figures, Readers, make_token, manage, measure, post
from bench.options import make_parser
from bench.servers import Server, running

REFRESH_SECONDS = 2.0
TIMEOUT_SECONDS = 30.0
LISTS = ("/admin/echo/connection/", "/admin/echo/node/")
SIGN_IN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
user = User.objects.create_superuser("operator")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""


def watch(port: int, session: str, pipe: Connection) -> None:
    """Act as the operator's browser until a message arrives; send the latencies so far."""
    headers = {"Cookie": f"sessionid={session}", "X-Fragment": "1"}
    threading.Thread(target=read_graph, args=(port, headers), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    latencies = []
    while True:
        for path in LISTS:
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"expected 200 from {path}, got {answer.status}")
            if path == LISTS[0]:
                latencies.append(time.perf_counter() - began)
        pipe.send(latencies)
        if pipe.poll(REFRESH_SECONDS):
            return


def read_graph(port: int, headers: dict[str, str]) -> None:
    """Read the figures of the live graph."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/feed/sse?topic=staff.stats", headers=headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"expected 200 from /feed/sse, got {answer.status}")
    while answer.read1():
        pass


@contextmanager
def operator(port: int, session: str, latencies: list[float]) -> Iterator[None]:
    """Run an operator's browser; in the end, add the list's latencies to ``latencies``."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=watch, args=(port, session, theirs))
    process.start()
    theirs.close()
    try:
        seen = ours.recv()
        yield
        ours.send("stop")
        process.join(TIMEOUT_SECONDS)
        with suppress(EOFError, ConnectionResetError):
            while True:
                seen = ours.recv()
        latencies += seen
    finally:
        process.kill()
    if process.exitcode:
        raise RuntimeError("the operator's requests failed")


def rounds(
    server: Server, readers: Readers, token: str, session: str, count: int
) -> tuple[dict[str, list[Figures]], list[float]]:
    """Return the figures without and with an operator, in turns, and the latencies."""
    publish = post(server.port, token)
    results: dict[str, list[Figures]] = {
        "nobody watches": [],
        "an operator watches": [],
    }
    latencies: list[float] = []
    with operator(server.port, session, []):
        pass  # the first responses compile the templates
    for _ in range(count):
        results["nobody watches"].append(measure(server, readers, publish, True))
        with operator(server.port, session, latencies):
            results["an operator watches"].append(
                measure(server, readers, publish, True)
            )
    return results, latencies


def table(results: dict[str, list[Figures]], latencies: list[float]) -> Iterator[str]:
    yield "| | deliveries/s | | per second of the server's processor | |"
    yield "|---|---:|---:|---:|---:|"
    first: Figures | None = None
    for name, runs in results.items():
        own = Figures(*map(statistics.median, zip(*runs, strict=True)))
        first = first or own
        yield (
            f"| {name} | {own.clock:,.0f} | {own.clock / first.clock:.1%} "
            f"| {own.server:,.0f} | {own.server / first.server:.1%} |"
        )
    yield ""
    yield (
        f"The list of connections answered {len(latencies)} times: after "
        f"{statistics.median(latencies):.3f} s (median), {max(latencies):.3f} s at most."
    )


def main(arguments: list[str]) -> None:
    parser = make_parser(__doc__, rounds=3, readers=10_000)
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {LOAD_CORE})
    token = make_token()
    session = manage("shell", "-v0", "-c", SIGN_IN)
    limits = {
        "FEED_PUBLISHES_PER_SECOND": "1000000",
        "FEED_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
        "FEED_HEARTBEAT_SECONDS": "3600",  # it takes a while to connect them all
        "HTTPS": "off",
        "UVICORN_WS_PING_INTERVAL": "3600",  # the load answers no pings
    }
    with running("uvicorn, ours", SERVER_CORE, **limits) as server:
        readers = Readers(server.port, "/feed/ws", options.readers, greeted=True)
        try:
            results = rounds(server, readers, token, session, options.rounds)
        finally:
            readers.close()
    print("\n".join(table(*results)))


if __name__ == "__main__":
    main(sys.argv[1:])
