"""The relay: one head, fan-out, gaps healed from the log, and what it costs."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from django.db import DatabaseError, connections
from pytest_django import Settings

from echo.feed import history, relay, threads
from echo.feed.doorbell import pack_events, unpack_events
from echo.feed.log import CommitWatch
from echo.feed.node import Node
from echo.models import Event as EventRow
from echo.models import Log, Topic
from echo.protocol import EventId
from echo.tests.feed.reading import (
    prune,
    read,
    read_numbers,
    subscribe,
    told,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])

query_in_thread = threads.history.wrap(lambda query: list(query()))


# --- the head -------------------------------------------------------------------------


async def test_an_event_after_the_head_goes_out_and_an_older_one_is_dropped(
    node: Node,
) -> None:
    reader = await subscribe(node)
    node.relay.look.clear()  # the first reader makes the relay look
    one, two = await write("news", "news")
    for event in (one, one, two, one, two):
        node.relay.receive_events([event])
    assert await read_numbers(reader) == [1, 2]
    assert not node.relay.look.is_set()


@pytest.mark.parametrize("missing", [1, 2])
async def test_a_later_event_waits_until_what_lies_between_is_read_from_the_log(
    node: Node, missing: int
) -> None:
    reader = await subscribe(node)
    *_, last = await write(*["news"] * missing, "news")
    node.relay.receive_events([last])
    assert node.relay.look.is_set()
    assert reader.is_idle
    await node.relay.catch_up()
    assert await read_numbers(reader) == list(range(1, missing + 2))


async def test_doorbells_in_the_wrong_order_are_put_right(node: Node) -> None:
    reader = await subscribe(node)
    one, two, three = await write("news", "news", "news")
    for event in (three, one, two, three):
        node.relay.receive_events([event])
    assert await read_numbers(reader) == [1, 2, 3]


async def test_an_event_of_another_epoch_is_no_event_of_this_log(node: Node) -> None:
    reader = await subscribe(node)
    (event,) = await write("news")
    stranger = unpack_events(pack_events([event], 0.0) | {"epoch": "00000000"})
    node.relay.receive_events(stranger)
    assert node.relay.look.is_set()
    assert reader.is_idle


async def test_a_long_gap_is_healed_page_by_page(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo.feed.log.PAGE_EVENTS", 10)
    reader = await subscribe(node)
    await write(*["news"] * 35)
    await node.relay.catch_up()
    assert await read_numbers(reader) == list(range(1, 36))


async def test_a_gap_that_retention_has_eaten_resets_only_who_missed_something(
    node: Node, settings: Settings
) -> None:
    quiet = await subscribe(node, "quiet")
    busy = await subscribe(node, "busy")
    await write("quiet", *["busy"] * 8, "quiet")
    settings.FEED_RETENTION_EVENTS = 2
    await prune()
    await node.relay.catch_up()
    assert await read_numbers(quiet) == [1, 10]
    assert [told(frame)["reason"] for frame in await read(busy)] == ["expired"]
    node.relay.receive_events(await write("busy", "quiet"))
    assert await read_numbers(quiet) == [12]
    assert await read_numbers(busy) == [11]


# --- lives of the log -----------------------------------------------------------------


def wipe() -> list[Any]:
    for table in (EventRow, Topic, Log):
        table.objects.all().delete()
    return []


async def test_a_wiped_log_resets_every_reader_and_goes_on(node: Node) -> None:
    live, behind = await subscribe(node), await subscribe(node)
    node.relay.receive_events(await write("news", "news"))
    assert await read_numbers(live) == [1, 2]
    behind.fall_behind()
    old = node.history.head
    await query_in_thread(wipe)
    await node.relay.catch_up()
    assert node.history.head.epoch != old.epoch
    for reader in (live, behind):
        (reset,) = await read(reader)
        assert told(reset)["reason"] == "epoch"
        assert told(reset)["last_event_id"] == str(node.history.head)
    node.relay.receive_events(await write("news"))
    assert await read_numbers(live) == await read_numbers(behind) == [1]


async def test_a_log_restored_from_an_older_copy_gets_a_new_epoch(node: Node) -> None:
    reader = await subscribe(node)
    node.relay.receive_events(await write("news", "news", "news"))
    assert await read_numbers(reader) == [1, 2, 3]
    old = node.history.head

    def restore() -> list[Any]:
        EventRow.objects.filter(number__gt=1).delete()
        Topic.objects.update(last_number=1, kept=1)
        Log.objects.update(last_number=1)
        return []

    await query_in_thread(restore)
    (event,) = await write("news")  # another event 2
    node.relay.receive_events([event])
    assert reader.is_idle
    await node.relay.catch_up()
    (reset,) = await read(reader)
    assert told(reset) == {
        "type": "reset",
        "reason": "ahead",
        "asked": f"{old.epoch}-3",
        "last_event_id": str(node.history.head),
    }
    assert node.history.head.epoch != old.epoch
    later = await subscribe(node, since=EventId(old.epoch, 2))
    assert [told(frame)["reason"] for frame in await read(later)] == ["epoch"]


async def test_a_log_that_changes_its_life_during_a_read_is_not_mixed_in(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await subscribe(node)
    await write("news", "news")
    read_tail = history.read_tail

    async def wipe_and_read(*arguments: Any) -> Any:
        await query_in_thread(wipe)
        await write("news", "news", "news")
        return await read_tail(*arguments)

    monkeypatch.setattr(history, "read_tail", wipe_and_read)
    await node.relay.catch_up()
    assert reader.is_idle
    monkeypatch.undo()
    await node.relay.catch_up()
    assert [told(frame)["reason"] for frame in await read(reader)] == ["epoch"]


# --- readers --------------------------------------------------------------------------


async def test_a_connection_that_is_not_made_gives_its_place_back(
    node: Node, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FEED_MAX_CONNECTIONS = 1

    async def fail(*_: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(history, "read_start", fail)
    for _ in range(3):
        with pytest.raises(DatabaseError):
            await subscribe(node, since="earliest")
    waiting = asyncio.create_task(subscribe(node, since="earliest"))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (node.hub.limits.total, node.hub.limits.by_address) == (0, Counter())
    await subscribe(node)


async def test_what_is_remembered_is_bounded(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo.feed.recent.MAX_EVENTS", 10)
    node.relay.receive_events(await write(*["news"] * 25))
    assert [event.number for event in node.history.recent] == list(range(16, 26))
    monkeypatch.setattr("echo.feed.recent.MAX_BYTES", 1000)
    node.relay.receive_events(await write(*["news"] * 5, data='"' + "x" * 200 + '"'))
    assert (
        node.history.recent.bytes
        == sum(event.size for event in node.history.recent)
        <= 1000
    )


# --- farewell -------------------------------------------------------------------------


# --- what it costs --------------------------------------------------------------------


async def test_readers_who_were_away_for_a_moment_need_no_database(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = await write(*["news"] * 10)
    node.relay.receive_events([first, *rest])
    await subscribe(node)
    for job in threads.JOBS:
        monkeypatch.setattr(job.executor, "submit", None)
    back = await subscribe(node, since=first.id)
    assert await read_numbers(back) == list(range(2, 11))


async def test_the_first_reader_costs_a_look_at_the_log_only_after_a_commit(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[EventId] = []

    async def read_head() -> EventId:
        looks.append(await relay.read_head())
        return looks[-1]

    monkeypatch.setattr(node.relay, "read_log_head", read_head)
    node.relay.watch = CommitWatch()
    for expected in (1, 2):
        await write("news")
        for _ in range(3):
            (await subscribe(node, since=f"{node.history.head.epoch}-0")).close()
        assert len(looks) == expected
        assert node.history.head.number == expected
    node.relay.stop()


async def test_who_comes_back_first_is_told_of_all_that_was_committed_meanwhile(
    node: Node,
) -> None:
    first, *_ = await write(*["news"] * 3)
    node.relay.receive_events([first])
    back = await subscribe(node, since=first.id)
    assert [frame.type for frame in await back.ready()] == ["event", "event"]


def test_the_database_of_these_tests_is_a_file() -> None:
    assert "memory" not in str(connections["default"].settings_dict["NAME"])
