"""A database that is away, hangs or is kept busy: answers in time, and nothing is lost."""

import asyncio
import json
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from echo.tests.live import LiveSite
from echo.tests.servers.test_backpressure import memory
from echo.tests.survival.backends import Postgres
from echo.tests.survival.conftest import PRODUCTION, Report, Start
from echo.tests.survival.publishers import Publisher, flood
from echo.tests.survival.reader import Reader, eventually, settled

# An answer comes within 5 s; the rest is for a machine that is busy. A frozen database
# would keep a node that waited for it for longer than the test.
ANSWER_SECONDS = 10.0
DATABASE_CONNECTIONS = 10


@pytest.fixture
def own_postgres(postgres: Postgres) -> Iterator[Postgres]:
    """The session's server; it is started again for the next test."""
    yield postgres
    if not (postgres.directory / "data" / "postmaster.pid").exists():
        postgres.resume()
    postgres.thaw()


def ready(site: LiveSite) -> dict[str, Any]:
    answer = httpx.get(f"{site.url}/readyz", trust_env=False, timeout=ANSWER_SECONDS)
    assert "127.0.0.1" not in answer.text  # the database's address is nobody's business
    return answer.json() | {"code": answer.status_code}


async def refusal(site: LiveSite, **query: str) -> tuple[int, dict[str, Any], float]:
    """Return the status, the JSON and the seconds of a refused handshake."""
    began_at = time.monotonic()
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{site.ws_url}/feed/ws?{urlencode(query)}", proxy=None):
            pass
    response = refused.value.response
    assert int(response.headers["Retry-After"]) > 0
    body: dict[str, Any] = json.loads(response.body)
    return response.status_code, body, time.monotonic() - began_at


@asynccontextmanager
async def many(site: LiveSite, count: int, since: str) -> AsyncIterator[None]:
    """So many readers, each of which has the log read for it."""
    async with AsyncExitStack() as readers:
        for number in range(count):
            query = urlencode({"since": since, "topic": f"a{number}.*"})
            await readers.enter_async_context(
                connect(f"{site.ws_url}/feed/ws?{query}", proxy=None)
            )
        yield


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_a_database_that_goes_away_and_comes_back(
    start: Start,
    own_postgres: Postgres,
    postgres_url: str,
    report: Report,
    how: str,
) -> None:
    node = start(
        "uvicorn",
        postgres_url,
        DATABASE_CONNECTIONS=str(DATABASE_CONNECTIONS),
        FEED_HISTORY_READS_PER_SECOND="1000",
    )
    await asyncio.to_thread(flood, node, 0, 3000, 10)
    reader = Reader([node])
    async with reader:
        epoch = ready(node)["head"].split("-")[0]
        async with many(node, 130, f"{epoch}-1"):
            assert own_postgres.connections(postgres_url) <= DATABASE_CONNECTIONS
        await asyncio.to_thread(
            own_postgres.stop if how == "stopped" else own_postgres.freeze
        )
        expected = ("down", 503) if how == "stopped" else ("degraded", 200)
        await eventually(
            lambda: (ready(node)["status"], ready(node)["code"]) == expected,
            f"readyz to say {expected}",
        )
        answers = await asyncio.gather(
            *(refusal(node, since="earliest", topic=f"b{i}") for i in range(5))
        )
        assert {status for status, _, _ in answers} == {503}
        assert answers[0][1]["status_code"] == 503
        slowest = max(seconds for _, _, seconds in answers)
        assert slowest < ANSWER_SECONDS
        await asyncio.to_thread(
            own_postgres.resume if how == "stopped" else own_postgres.thaw
        )
        back_at = time.monotonic()
        await eventually(lambda: ready(node)["status"] == "ok", "readyz")
        recovered = time.monotonic() - back_at
        with Publisher(node) as publisher:
            publisher.publish("after")
            figures = await settled([reader], ["after"])
        assert own_postgres.connections(postgres_url) <= DATABASE_CONNECTIONS
        assert reader.connects == 1
    warnings = [line for line in node.log.splitlines() if "watch_log failed" in line]
    assert len(warnings) <= 1, warnings
    report(
        how,
        figures,
        slowest_refusal=f"{slowest:.1f} s",
        back=f"{recovered:.1f} s later",
    )


def stalled(site: LiveSite, count: int, request: str) -> ExitStack:
    """So many clients that ask and read nothing but the first byte."""
    clients = ExitStack()
    for _ in range(count):
        client = clients.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", site.port))
        client.sendall(request.encode())
        client.recv(1)
    return clients


STALLED = 150
# A page each, what the server holds of it, and the sockets' own: 200 kB; before there were
# 4 MB for each.
MAX_STALLED_BYTES = 750_000


@pytest.mark.parametrize("source", ["memory", "log"])
async def test_readers_who_take_nothing_hold_a_page_each(
    start: Start, server: str, sqlite_url: str, report: Report, source: str
) -> None:
    node = start(server, sqlite_url)
    assert node.process is not None
    await asyncio.to_thread(flood, node, 0, 66, 60_000)
    if source == "log":
        await asyncio.to_thread(flood, node, 66, 3000, 10)
    async with Reader([node]) as reader:
        epoch = ready(node)["head"].split("-")[0]
        before = memory(node.process.pid, "VmRSS")
        query = urlencode({"since": f"{epoch}-0", "topic": "news"})
        request = f"GET /feed/sse?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with await asyncio.to_thread(stalled, node, STALLED, request):
            await asyncio.sleep(1)  # what more they are given would be in memory by now
            after = memory(node.process.pid, "VmHWM")
            with Publisher(node) as publisher:
                publisher.publish("live")
                figures = await settled([reader], ["live"])
    each = (after - before) / STALLED
    report(source, figures, memory=f"{before / 1e6:.0f} → {after / 1e6:.0f} MB")
    assert each < MAX_STALLED_BYTES


FILL = """
INSERT INTO echo_event (number, topic, data, sent_at, source, author)
SELECT n, 'busy' || (n % 50), '1', {now}, 'code', ''
FROM {numbers} AS g WHERE n > 1
"""
TOPICS = """
INSERT INTO echo_topic (name, last_number, pruned_number, kept)
SELECT topic, MAX(number), 0, COUNT(*) FROM echo_event WHERE number > 1 GROUP BY topic
"""
FILLED = 300_000
NUMBERS = {
    "sqlite": (
        "strftime('%Y-%m-%d %H:%M:%S', 'now')",
        f"(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g "
        f"WHERE n < {FILLED}) SELECT n FROM g)",
    ),
    "postgres": ("now()", f"(SELECT generate_series(1, {FILLED}) AS n)"),
}


def fill(database_url: str) -> None:
    """Insert a long log below an event that has been published."""
    kind = "postgres" if database_url.startswith("postgres") else "sqlite"
    now, numbers = NUMBERS[kind]
    statements = [
        FILL.format(now=now, numbers=numbers),
        TOPICS,
        f"UPDATE echo_log SET last_number = {FILLED}",
    ]
    connection: Any = (
        psycopg.connect(database_url)
        if kind == "postgres"
        else sqlite3.connect(Path(database_url.removeprefix("sqlite:///")))
    )
    try:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


ASKERS = 100
# A node that served all these reads first would need longer; the rest is for a busy machine.
MAX_LAG_SECONDS = 10.0


async def test_live_events_do_not_wait_for_readers_of_history(
    start: Start, database_url: str, report: Report
) -> None:
    node = start(
        "uvicorn",
        database_url,
        FEED_RETENTION_EVENTS="1000000",
        FEED_HISTORY_READS_PER_SECOND="5",
    )
    with Publisher(node) as publisher:
        publisher.publish("first")
    fill(database_url)
    await eventually(lambda: ready(node)["head"].endswith(f"-{FILLED}"), "the log")
    epoch = ready(node)["head"].split("-")[0]
    statuses: list[int] = []

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        parameters = {"topic": f"quiet{number}.*", "since": f"{epoch}-1"}
        while True:
            answer = await client.get("/feed/poll", params=parameters)
            statuses.append(answer.status_code)
            parameters["since"] = f"{epoch}-{len(statuses) % 1000 + 1}"
            await asyncio.sleep(0.1)

    async with (
        Reader([node], topics=["news"]) as reader,
        httpx.AsyncClient(base_url=node.url, trust_env=False, timeout=60) as client,
    ):
        tasks = [asyncio.create_task(ask(client, number)) for number in range(ASKERS)]
        try:
            with Publisher(node) as publisher:
                for number in range(40):
                    publisher.publish(number)
                    await asyncio.sleep(0.1)
                figures = await settled([reader], range(40))
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    report(
        f"{ASKERS} askers",
        figures,
        slowest=f"{max(reader.lags):.2f} s",
        answered=statuses.count(200),
        refused=statuses.count(429),
    )
    assert set(statuses) == {200, 429}
    assert max(reader.lags) < MAX_LAG_SECONDS


PUBLISH = """
from echo.feed import log, publish
from echo.models import Log
publish("news", 1)
Log.objects.update(deleted_public_number={mark})
print(log.head().epoch)
"""
HEAD = "from echo.feed import log, publish; publish('news', 2); print(log.head())"


@pytest.mark.parametrize("mark", [0, 1])
def test_the_tables_go_back_and_forth_with_events_in_them(
    database_url: str, tmp_path: Path, mark: int
) -> None:
    """Readers are reset when the marks of deleted topics are lost, and only then."""
    site = LiveSite("uvicorn", tmp_path, **PRODUCTION, DATABASE_URL=database_url)
    publish = PUBLISH.format(mark=mark)
    epoch = site.manage("shell", "-v0", "-c", publish).strip()
    site.manage("migrate", "-v0", "echo", "0002")
    site.manage("migrate", "-v0")
    now, number = site.manage("shell", "-v0", "-c", HEAD).strip().split("-")
    assert int(number) == 2
    assert (now != epoch) is bool(mark)
