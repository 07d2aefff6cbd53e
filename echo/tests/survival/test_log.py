"""A log that has moved on, has been wiped or restored: readers are told, never left with a hole."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from echo.protocol import EventId
from echo.tests.live import LiveSite
from echo.tests.survival.conftest import Report, Size, Start
from echo.tests.survival.publishers import Publisher, flood
from echo.tests.survival.reader import Reader, eventually, settled
from echo.tests.survival.record import Figures

# What a node still has in memory it delivers, even when retention has it no more.
MORE_THAN_REMEMBERED = 3000
# As docs/deploy.md says.
RENEW_EPOCH = "from echo.feed import log; print(log.renew_epoch(log.head().epoch))"


def resets(reader: Reader) -> list[str]:
    return [reset["reason"] for reset in reader.record.resets]


def copy(source: Path, target: Path) -> None:
    """SQLite's own backup, which also writes into a database that is in use."""
    with (
        closing(sqlite3.connect(source)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)


def asked(site: LiveSite, since: object) -> dict[str, object] | None:
    """Return the reset in the answer to this cursor; who asks too often is refused for now."""
    parameters = {"since": str(since), "topic": "news"}
    answer = site.get("/feed/poll", params=parameters)
    reset: dict[str, object] | None = answer.json().get("reset")
    return reset


def come_back(reader: Reader, nodes: list[LiveSite]) -> Reader:
    """Return the same client, a while later."""
    returned = Reader(nodes)
    returned.record = reader.record
    return returned


@pytest.mark.parametrize(
    ("server", "retention"),
    [
        ("daphne", {"FEED_RETENTION_EVENTS": "50"}),
        ("uvicorn", {"FEED_RETENTION_SECONDS": "1"}),
    ],
    ids=["events", "seconds"],
)
async def test_a_reader_that_was_away_longer_than_retention_is_reset(
    start: Start,
    server: str,
    sqlite_url: str,
    report: Report,
    retention: dict[str, str],
) -> None:
    node = start(server, sqlite_url, **retention)
    with Publisher(node) as publisher:
        async with Reader([node], "sse", topics=["news"]) as reader:
            publisher.publish("before")
            await reader.has(1)
        await asyncio.to_thread(flood, node, 0, MORE_THAN_REMEMBERED, 10)
        cursor = reader.record.cursor
        await eventually(lambda: asked(node, cursor), "retention")
        async with come_back(reader, [node]) as reader:
            await eventually(lambda: resets(reader), "a reset")
            publisher.publish("after")
            await eventually(lambda: "after" in reader.record.data, "the next event")
    assert resets(reader) == ["expired"]
    report("1 reader", reader.record.figures({"before", "after"}))


async def test_readers_of_a_wiped_log_are_reset(
    start: Start, database_url: str, report: Report
) -> None:
    node = start("uvicorn", database_url)
    async with Reader([node]) as absent, Reader([node], "sse") as present:
        with Publisher(node) as publisher:
            publisher.publish(*range(10))
            await settled([absent, present], range(10))
            await absent.__aexit__()
            await asyncio.to_thread(node.manage, "flush", "--no-input", "-v0")
            await eventually(lambda: resets(present), "a reset")
            async with come_back(absent, [node]) as returned:
                await eventually(lambda: resets(returned), "a reset")
                publisher.publish("after")
                await settled([returned, present], range(11))
    assert resets(returned) == resets(present) == ["epoch"]
    report("2 readers", present.record.figures([*range(10), "after"]))
    assert returned.record.figures([*range(10), "after"]) == Figures()


async def test_readers_of_a_log_restored_from_an_older_copy_are_reset(
    start: Start, sqlite_url: str, tmp_path: Path, report: Report
) -> None:
    nodes = [start(server, sqlite_url) for server in ("daphne", "uvicorn")]
    database, older = tmp_path / "db.sqlite3", tmp_path / "older.sqlite3"
    with Publisher(nodes[0]) as publisher:
        async with Reader(nodes[:1]) as one, Reader(nodes[1:], "sse") as other:
            publisher.publish(*range(10))
            await settled([one, other], range(10))
            copy(database, older)
            publisher.publish(*range(10, 20))
            await settled([one, other], range(20))
            copy(older, database)
            await eventually(lambda: resets(one) and resets(other), "a reset")
            publisher.publish("after")
            await settled([one, other], range(21))
            # The node that sees it first begins a new epoch; the other sees that one.
            assert "ahead" in resets(one) + resets(other)
            assert len(resets(one)) == len(resets(other)) == 1
            figures = one.record.figures([*range(20), "after"])
            figures += other.record.figures([*range(20), "after"])
    report("2 readers", figures)


async def test_a_log_restored_while_nobody_looked_resets_a_reader_that_is_ahead(
    start: Start, sqlite_url: str, tmp_path: Path, report: Report
) -> None:
    node = start("daphne", sqlite_url)
    database, older = tmp_path / "db.sqlite3", tmp_path / "older.sqlite3"
    async with Reader([node]) as reader:
        with Publisher(node) as publisher:
            publisher.publish("old")
            await reader.has(1)
            copy(database, older)
            publisher.publish("forgotten")
            await reader.has(2)
        await asyncio.to_thread(node.stop)
        copy(older, database)
        await asyncio.to_thread(node.start)
        await eventually(lambda: resets(reader), "a reset")
        with Publisher(node) as publisher:
            publisher.publish("after")
            figures = await settled([reader], {"old", "forgotten", "after"})
    assert resets(reader) == ["ahead"]
    report("1 reader", figures)


async def test_a_log_restored_while_nobody_looked_gets_a_new_epoch_by_hand(
    start: Start, sqlite_url: str, tmp_path: Path, report: Report
) -> None:
    node = start("uvicorn", sqlite_url)
    database, older = tmp_path / "db.sqlite3", tmp_path / "older.sqlite3"
    async with Reader([node]) as reader:
        copy(database, older)
        with Publisher(node) as publisher:
            publisher.publish(*range(5))
            await reader.has(5)
        await asyncio.to_thread(node.stop)
        copy(older, database)
        await asyncio.to_thread(node.manage, "shell", "-v0", "-c", RENEW_EPOCH)
        with Publisher(node) as publisher:
            publisher.publish(*range(5, 15))
        await asyncio.to_thread(node.start)
        await eventually(lambda: resets(reader), "a reset")
        with Publisher(node) as publisher:
            publisher.publish("after")
            figures = await settled([reader], [*range(5), "after"])
    assert resets(reader) == ["epoch"]
    report("1 reader", figures)


async def test_a_replay_that_retention_overtakes_is_reset_and_has_no_hole(
    start: Start, server: str, sqlite_url: str, size: Size, report: Report
) -> None:
    node = start(server, sqlite_url, FEED_RETENTION_EVENTS="3000")
    more = size(6000, 50_000)
    await asyncio.to_thread(flood, node, 0, 3000, 4000)
    async with Reader([node], since="earliest", receive_buffer=4096) as reader:
        await reader.has(1)
        reader.reading.clear()
        await asyncio.to_thread(flood, node, 3000, more, 4000)
        # Further than what the sockets' buffers hold for this reader.
        assert reader.record.cursor is not None
        beyond = EventId(reader.record.cursor.epoch, 3000)
        await eventually(lambda: asked(node, beyond), "retention")
        reader.reading.set()
        await eventually(lambda: resets(reader), "a reset")
        with Publisher(node) as publisher:
            publisher.publish("after")
            await eventually(lambda: "after" in reader.record.data, "the next event")
    # Once, and once more if its connection was lost while it read nothing.
    assert set(resets(reader)) == {"expired"}
    numbers = [int(data.split()[0]) for data in reader.record.data[:-1]]
    assert numbers[: len(set(numbers))] == sorted(set(numbers))
    report("1 reader", reader.record.figures({"after"}), before_the_reset=len(numbers))
