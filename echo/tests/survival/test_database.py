"""A database that is locked, or has few connections: errors come in time, and readers stay."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from echo.tests.live import PATIENCE_SECONDS, LiveSite
from echo.tests.survival.conftest import Report, Start
from echo.tests.survival.publishers import MAKE_TOKEN, flood
from echo.tests.survival.reader import Reader, eventually, settled
from echo.tests.transports.adapters import EventStream, Refused, take_data

# A client is answered within 5 s; the rest is for a machine that is busy. The lock is held
# for as long as the test waits.
ANSWER_SECONDS = 10.0
MAX_CONNECTIONS = 10
MORE_THAN_REMEMBERED = 3000
MAKE_SESSION = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_user("root", is_staff=True))
print(client.cookies["sessionid"].value)
"""
EVENT = {"topic": "news", "data": 1}


class Site:
    """A node, with a token to publish there and the cookie of a member of staff."""

    def __init__(self, node: LiveSite) -> None:
        self.node = node
        self.token = node.manage("shell", "-v0", "-c", MAKE_TOKEN).strip()
        key = node.manage("shell", "-v0", "-c", MAKE_SESSION).strip()
        self.cookie = f"sessionid={key}"

    async def publish(self) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.request("POST", "publish", headers=headers, json=EVENT)

    async def request(
        self, method: str, path: str, **options: object
    ) -> httpx.Response:
        async with httpx.AsyncClient(
            trust_env=False, timeout=PATIENCE_SECONDS
        ) as client:
            url = f"{self.node.url}/feed/{path}"
            return await client.request(method, url, **options)  # type: ignore[arg-type]


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold SQLite's write lock, as another program could."""
    path = Path(url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def check_refusal(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"] == "2"
    assert answer.json()["error"] == "Service Unavailable"
    assert "the log cannot be reached" in answer.json()["detail"]
    assert "database" not in answer.json()["detail"]


async def test_publishes_are_refused_in_time_and_reading_goes_on_while_sqlite_is_locked(
    start: Start, server: str, sqlite_url: str
) -> None:
    site = Site(start(server, sqlite_url))
    with closing(EventStream(site.node, "news")) as stream:
        began = time.monotonic()
        with locked(sqlite_url):
            publishes = [asyncio.create_task(site.publish()) for _ in range(10)]
            poll = await site.request("GET", "poll")
            assert poll.status_code == 200
            assert not any(publish.done() for publish in publishes)
            for answer in await asyncio.gather(*publishes):
                check_refusal(answer)
            assert time.monotonic() - began < ANSWER_SECONDS
        assert (await site.publish()).status_code == 201
        # Nothing of what was refused is in the log.
        assert await asyncio.to_thread(take_data, stream, 1) == [1]
        poll = await site.request("GET", "poll?since=earliest")
        assert len(poll.json()["events"]) == 1


async def test_a_reader_whose_session_cannot_be_looked_up_is_refused_for_now(
    start: Start, server: str, sqlite_url: str
) -> None:
    """Never served as a visitor: it would miss what it may read, without a word."""
    site = Site(start(server, sqlite_url))
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("ALTER TABLE django_session RENAME TO away")
        connection.commit()
        with pytest.raises(Refused) as refusal:
            EventStream(site.node, "news", cookie=site.cookie)
    assert refusal.value.status == 503


async def test_signed_in_readers_hold_no_connections(
    start: Start, server: str, postgres_url: str
) -> None:
    site = Site(start(server, postgres_url))
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with ExitStack() as streams, psycopg.connect(postgres_url) as connection:
        for _ in range(130):
            stream = EventStream(site.node, "staff.news", cookie=site.cookie)
            streams.enter_context(closing(stream))
        answers = await asyncio.gather(*[site.publish() for _ in range(50)])
        assert {answer.status_code for answer in answers} == {201}
        (count,) = connection.execute(query).fetchone() or (0,)
    assert count - 1 <= MAX_CONNECTIONS  # the last one asked


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_reader_behind_is_asked_to_come_back_when_the_log_cannot_be_read(
    start: Start, server: str, sqlite_url: str, transport: str, report: Report
) -> None:
    node = start(server, sqlite_url)
    numbers = range(MORE_THAN_REMEMBERED)
    await asyncio.to_thread(flood, node, 0, len(numbers), 4000)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        async with Reader(
            [node], transport, since="earliest", receive_buffer=4096
        ) as reader:
            await reader.has(1)
            connection.execute("ALTER TABLE echo_event RENAME TO away")
            connection.commit()
            await eventually(lambda: reader.record.byes, "bye")
            connection.execute("ALTER TABLE away RENAME TO echo_event")
            connection.commit()
            published = {f"{number} {'x' * 4000}" for number in numbers}
            figures = await settled([reader], published)
    assert reader.record.byes[0]["code"] == 4011
    assert reader.record.resets == []
    report(f"1 reader, {len(numbers)} events", figures)
