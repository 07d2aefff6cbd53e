"""The relay: one head, fan-out, gaps healed from the log, and what it costs."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.db import DatabaseError, connection, connections
from pytest_django import Settings

from echo.feed import Reader, apublish, get_node, history, threads
from echo.feed import relay as module
from echo.feed.doorbell import pack_events, unpack_events
from echo.feed.node import Node
from echo.models import Event as EventRow
from echo.models import Log, Topic
from echo.protocol import CloseCode, EventId, TooMany
from echo.tests.feed.reading import (
    Transcript,
    prune,
    read,
    read_numbers,
    subscribe,
    told,
    until,
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
        node.relay.take([event])
    assert await read_numbers(reader) == [1, 2]
    assert not node.relay.look.is_set()


@pytest.mark.parametrize("missing", [1, 2])
async def test_a_later_event_waits_until_what_lies_between_is_read_from_the_log(
    node: Node, missing: int
) -> None:
    reader = await subscribe(node)
    *_, last = await write(*["news"] * missing, "news")
    node.relay.take([last])
    assert node.relay.look.is_set()
    assert reader.is_idle
    await node.relay.catch_up()
    assert await read_numbers(reader) == list(range(1, missing + 2))


async def test_doorbells_in_the_wrong_order_are_put_right(node: Node) -> None:
    reader = await subscribe(node)
    one, two, three = await write("news", "news", "news")
    for event in (three, one, two, three):
        node.relay.take([event])
    assert await read_numbers(reader) == [1, 2, 3]


async def test_an_event_of_another_epoch_is_no_event_of_this_log(node: Node) -> None:
    reader = await subscribe(node)
    (event,) = await write("news")
    stranger = unpack_events(pack_events([event], 0.0) | {"epoch": "00000000"})
    node.relay.take(stranger)
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
    node.relay.take(await write("busy", "quiet"))
    assert await read_numbers(quiet) == [12]
    assert await read_numbers(busy) == [11]


# --- lives of the log -----------------------------------------------------------------


def wipe() -> list[Any]:
    for table in (EventRow, Topic, Log):
        table.objects.all().delete()
    return []


async def test_a_wiped_log_resets_every_reader_and_goes_on(node: Node) -> None:
    live, behind = await subscribe(node), await subscribe(node)
    node.relay.take(await write("news", "news"))
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
    node.relay.take(await write("news"))
    assert await read_numbers(live) == await read_numbers(behind) == [1]


async def test_a_log_restored_from_an_older_copy_gets_a_new_epoch(node: Node) -> None:
    reader = await subscribe(node)
    node.relay.take(await write("news", "news", "news"))
    assert await read_numbers(reader) == [1, 2, 3]
    old = node.history.head

    def restore() -> list[Any]:
        EventRow.objects.filter(number__gt=1).delete()
        Topic.objects.update(last_number=1, kept=1)
        Log.objects.update(last_number=1)
        return []

    await query_in_thread(restore)
    (event,) = await write("news")  # another event 2
    node.relay.take([event])
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


async def test_readers_get_what_they_asked_for_and_may_have(node: Node) -> None:
    visitor = await subscribe(node, "*")
    staff = await subscribe(node, "staff.*", reader=Reader("1", is_staff=True))
    ada = await subscribe(node, "*", reader=Reader("7"))
    node.relay.take(await write("news", "staff.ops", "user.7.mail", "user.8.mail"))
    assert await read_numbers(visitor) == [1]
    assert await read_numbers(staff) == [2]
    assert await read_numbers(ada) == [1, 3]


async def test_a_reader_who_comes_later_hears_a_topic_known_before(
    node: Node,
) -> None:
    node.relay.take(await write("news"))
    reader = await subscribe(node, "news")
    node.relay.take(await write("news"))
    assert await read_numbers(reader) == [2]


async def test_connections_are_limited_for_each_address(
    node: Node, settings: Settings
) -> None:
    settings.FEED_MAX_CONNECTIONS_PER_ADDRESS = 2
    first = await subscribe(node, address="192.0.2.1")
    await subscribe(node, address="192.0.2.1")
    with pytest.raises(TooMany, match=r"192\.0\.2\.1 has its 2 connections"):
        await subscribe(node, address="192.0.2.1")
    await subscribe(node, address="192.0.2.2")
    first.close()
    await subscribe(node, address="192.0.2.1")


async def test_connections_are_limited_for_the_process(
    node: Node, settings: Settings
) -> None:
    settings.FEED_MAX_CONNECTIONS = 2
    await subscribe(node)
    last = await subscribe(node)
    with pytest.raises(TooMany, match="this node has its 2 connections"):
        await subscribe(node)
    last.close()
    await subscribe(node)


async def test_a_burst_finds_no_more_places_than_there_are(
    node: Node, settings: Settings
) -> None:
    settings.FEED_MAX_CONNECTIONS = 5
    settings.FEED_MAX_CONNECTIONS_PER_ADDRESS = 2
    burst = [
        subscribe(node, since="earliest", address=f"192.0.2.{number % 4}")
        for number in range(40)
    ]
    taken = await asyncio.gather(*burst, return_exceptions=True)
    assert sum(isinstance(one, TooMany) for one in taken) == 35
    assert len(node.hub.subscriptions) == node.hub.limits.by_address.total() == 5
    assert max(node.hub.limits.by_address.values()) <= 2


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
    node.relay.take(await write(*["news"] * 25))
    assert [event.number for event in node.history.recent] == list(range(16, 26))
    monkeypatch.setattr("echo.feed.recent.MAX_BYTES", 1000)
    node.relay.take(await write(*["news"] * 5, data='"' + "x" * 200 + '"'))
    assert (
        node.history.recent.bytes
        == sum(event.size for event in node.history.recent)
        <= 1000
    )


# --- farewell -------------------------------------------------------------------------


async def test_everybody_is_told_bye_with_return_times_spread_out(node: Node) -> None:
    readers = [await subscribe(node) for _ in range(20)]
    leaving = asyncio.create_task(node.hub.drain())
    byes = [told((await reader.next())[0]) for reader in readers]
    for reader in readers:
        reader.close()
    await asyncio.wait_for(leaving, 1)
    assert {bye["code"] for bye in byes} == {CloseCode.SHUTDOWN}
    assert len({bye["retry_ms"] for bye in byes}) > 10


async def test_who_comes_during_the_farewell_is_told_too(node: Node) -> None:
    await node.hub.drain()
    late = await subscribe(node)
    assert told((await late.next())[0])["code"] == CloseCode.SHUTDOWN


# --- what it costs --------------------------------------------------------------------


async def test_an_event_is_encoded_once_and_costs_no_database_and_no_task(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [await subscribe(node, "news") for _ in range(50)]
    events = await write(*["news"] * 20)
    calls: Counter[str] = Counter()

    def counting(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(json, "dumps", counting("json", json.dumps))
    for job in threads.JOBS:
        submit = counting("thread", job.executor.submit)
        monkeypatch.setattr(job.executor, "submit", submit)
    monkeypatch.setattr(asyncio, "create_task", counting("task", asyncio.create_task))
    with connection.execute_wrapper(
        lambda execute, *rest: counting("query", execute)(*rest)
    ):
        node.relay.take(events)
        frames = [await reader.next() for reader in readers]
        wires = {(id(frame.message), id(frame.sse)) for got in frames for frame in got}
    assert [len(got) for got in frames] == [20] * 50
    assert len(wires) == 20
    assert calls == {}


async def test_readers_who_were_away_for_a_moment_need_no_database(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = await write(*["news"] * 10)
    node.relay.take([first, *rest])
    await subscribe(node)
    for job in threads.JOBS:
        monkeypatch.setattr(job.executor, "submit", None)
    back = await subscribe(node, since=first.id)
    assert await read_numbers(back) == list(range(2, 11))


async def test_who_comes_back_first_is_told_of_all_that_was_committed_meanwhile(
    node: Node,
) -> None:
    first, *_ = await write(*["news"] * 3)
    node.relay.take([first])
    back = await subscribe(node, since=first.id)
    assert [frame.type for frame in await back.ready()] == ["event", "event"]


# --- a relay at work ------------------------------------------------------------------


@pytest.fixture
async def running(transactional_db: None, settings: Settings) -> AsyncIterator[Node]:
    """This loop's relay with all its jobs, as a server has it."""
    node = await get_node()
    yield node
    await node.stop()


async def test_a_publish_in_this_process_is_heard(running: Node) -> None:
    reader = await subscribe(running, "news")
    done = await apublish("news", "小王子")
    (event,) = await asyncio.wait_for(reader.next(), 5)
    assert (str(event.cursor), done.duplicate) == (done.id, False)


async def test_what_another_process_commits_is_found_without_a_doorbell(
    running: Node,
) -> None:
    reader = await subscribe(running, "news")
    await write("news")  # tells nobody, as a killed process would
    (event,) = await asyncio.wait_for(reader.next(), 5)
    assert event.cursor == running.history.head


async def test_a_look_that_fails_is_tried_again(
    running: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = await subscribe(running, "news")
    read_head = module.read_head
    failures: list[int] = []

    async def fail_twice() -> EventId:
        if len(failures) < 2:
            failures.append(1)
            raise OSError("the disk is gone")
        head: EventId = await read_head()
        return head

    monkeypatch.setattr(module, "read_head", fail_twice)
    await write("news")
    await asyncio.wait_for(reader.next(), 10)
    assert running.relay.log_up
    warnings = [r.message for r in caplog.records if "keep_watching" in r.message]
    assert len(warnings) == 1
    assert "the disk is gone" in warnings[0]


async def test_one_loop_has_one_relay_however_many_ask_at_once(running: Node) -> None:
    assert set(await asyncio.gather(*[get_node() for _ in range(5)])) == {running}


async def test_subscribers_and_publishers_at_work_lose_nothing(running: Node) -> None:
    reader = await subscribe(running, "news")
    transcript = Transcript(reader.position)
    publishers = [asyncio.create_task(apublish("news", number)) for number in range(40)]
    while len(transcript.seen) < 40:
        transcript.take(await asyncio.wait_for(reader.next(), 10))
    await asyncio.gather(*publishers)
    assert transcript.seen == list(range(1, 41))


# --- the channel layer ----------------------------------------------------------------


class Carrier(InMemoryChannelLayer):
    """A layer that is not the one of a lone process: its doorbells count."""


@pytest.fixture
async def carried(node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    node.cluster.channel.layer = Carrier()
    node.cluster.channel.reaches_others = True
    return node


async def test_a_doorbell_brings_the_events_themselves(carried: Node) -> None:
    reader = await subscribe(carried)
    events = await write("news", "staff.x", "news")
    carried.cluster.receive(pack_events(events, 0.0))
    assert await read_numbers(reader) == [1, 3]


async def test_a_doorbell_with_too_much_to_carry_says_look(
    carried: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await write("news", "news")
    monkeypatch.setattr("echo.feed.doorbell.MAX_MESSAGE_BYTES", 100)
    assert pack_events(events, 0.0) == {"type": "feed.look"}
    carried.cluster.receive(pack_events(events, 0.0))
    assert carried.relay.look.is_set()


async def test_a_pulse_lists_the_node_and_shows_a_doorbell_that_was_missed(
    carried: Node,
) -> None:
    pulse = carried.cluster.stats.state().pulse()
    carried.cluster.receive(pulse | {"node": "other"})
    assert set(carried.cluster.presence.known) == {"other"}
    assert not carried.relay.look.is_set()
    ahead = {
        "type": "feed.pulse",
        "node": "other",
        "head": f"{carried.history.head.epoch}-9",
    }
    carried.cluster.receive(ahead)
    assert carried.relay.look.is_set()


async def test_a_listener_that_ends_leaves_its_group(carried: Node) -> None:
    assert isinstance(carried.cluster.channel.layer, Carrier)
    groups = carried.cluster.channel.layer.groups
    listening = asyncio.create_task(carried.cluster.keep_receiving())
    await until(lambda: groups.get(carried.cluster.channel.group))
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert not groups.get(carried.cluster.channel.group)


async def test_a_silent_layer_is_down_and_back_with_its_first_sound(
    carried: Node, caplog: pytest.LogCaptureFixture
) -> None:
    carried.cluster.channel.received_at = carried.loop.time()
    carried.cluster.channel.is_up = False
    assert carried.cluster.channel.state == "down"
    carried.cluster.receive({"type": "feed.look"})
    assert carried.cluster.channel.state == "up"
    assert carried.relay.look.is_set()


def test_the_database_of_these_tests_is_a_file() -> None:
    assert "memory" not in str(connections["default"].settings_dict["NAME"])
