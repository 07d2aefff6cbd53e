"""The relay: one head, fan-out, gaps healed from the log, and what it costs."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.db import DatabaseError, connection, connections
from pytest_django import Settings

from echo.feed import Reader, Relay, apublish, get_relay, threads
from echo.feed import relay as module
from echo.feed.nodes import message, unpack
from echo.feed.threads import history
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

query_in_thread = history.wrap(lambda query: list(query()))


# --- the head -------------------------------------------------------------------------


async def test_an_event_after_the_head_goes_out_and_an_older_one_is_dropped(
    relay: Relay,
) -> None:
    reader = await subscribe(relay)
    relay.look.clear()  # the first reader makes the relay look
    one, two = await write("news", "news")
    for event in (one, one, two, one, two):
        relay.take([event])
    assert await read_numbers(reader) == [1, 2]
    assert not relay.look.is_set()


@pytest.mark.parametrize("missing", [1, 2])
async def test_a_later_event_waits_until_what_lies_between_is_read_from_the_log(
    relay: Relay, missing: int
) -> None:
    reader = await subscribe(relay)
    *_, last = await write(*["news"] * missing, "news")
    relay.take([last])
    assert relay.look.is_set()
    assert reader.is_idle
    await relay.catch_up()
    assert await read_numbers(reader) == list(range(1, missing + 2))


async def test_doorbells_in_the_wrong_order_are_put_right(relay: Relay) -> None:
    reader = await subscribe(relay)
    one, two, three = await write("news", "news", "news")
    for event in (three, one, two, three):
        relay.take([event])
    assert await read_numbers(reader) == [1, 2, 3]


async def test_an_event_of_another_epoch_is_no_event_of_this_log(relay: Relay) -> None:
    reader = await subscribe(relay)
    (event,) = await write("news")
    stranger = unpack(message([event], 0.0, 10**6) | {"epoch": "00000000"})
    relay.take(stranger)
    assert relay.look.is_set()
    assert reader.is_idle


async def test_a_long_gap_is_healed_page_by_page(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo.feed.log.PAGE_EVENTS", 10)
    reader = await subscribe(relay)
    await write(*["news"] * 35)
    await relay.catch_up()
    assert await read_numbers(reader) == list(range(1, 36))


async def test_a_gap_that_retention_has_eaten_resets_only_who_missed_something(
    relay: Relay, settings: Settings
) -> None:
    quiet = await subscribe(relay, "quiet")
    busy = await subscribe(relay, "busy")
    await write("quiet", *["busy"] * 8, "quiet")
    settings.FEED_RETENTION_EVENTS = 2
    await prune()
    await relay.catch_up()
    assert await read_numbers(quiet) == [1, 10]
    assert [told(frame)["reason"] for frame in await read(busy)] == ["expired"]
    relay.take(await write("busy", "quiet"))
    assert await read_numbers(quiet) == [12]
    assert await read_numbers(busy) == [11]


# --- lives of the log -----------------------------------------------------------------


def wipe() -> list[Any]:
    for table in (EventRow, Topic, Log):
        table.objects.all().delete()
    return []


async def test_a_wiped_log_resets_every_reader_and_goes_on(relay: Relay) -> None:
    live, behind = await subscribe(relay), await subscribe(relay)
    relay.take(await write("news", "news"))
    assert await read_numbers(live) == [1, 2]
    behind.fall_behind()
    old = relay.head
    await query_in_thread(wipe)
    await relay.catch_up()
    assert relay.head.epoch != old.epoch
    for reader in (live, behind):
        (reset,) = await read(reader)
        assert told(reset)["reason"] == "epoch"
        assert told(reset)["last_event_id"] == str(relay.head)
    relay.take(await write("news"))
    assert await read_numbers(live) == await read_numbers(behind) == [1]


async def test_a_log_restored_from_an_older_copy_gets_a_new_epoch(relay: Relay) -> None:
    reader = await subscribe(relay)
    relay.take(await write("news", "news", "news"))
    assert await read_numbers(reader) == [1, 2, 3]
    old = relay.head

    def restore() -> list[Any]:
        EventRow.objects.filter(number__gt=1).delete()
        Topic.objects.update(last_number=1, kept=1)
        Log.objects.update(last_number=1)
        return []

    await query_in_thread(restore)
    (event,) = await write("news")  # another event 2
    relay.take([event])
    assert reader.is_idle
    await relay.catch_up()
    (reset,) = await read(reader)
    assert told(reset) == {
        "type": "reset",
        "reason": "ahead",
        "asked": f"{old.epoch}-3",
        "last_event_id": str(relay.head),
    }
    assert relay.head.epoch != old.epoch
    later = await subscribe(relay, since=EventId(old.epoch, 2))
    assert [told(frame)["reason"] for frame in await read(later)] == ["epoch"]


async def test_a_log_that_changes_its_life_during_a_read_is_not_mixed_in(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await subscribe(relay)
    await write("news", "news")
    read_tail = module.read_tail

    async def wipe_and_read(*arguments: Any) -> Any:
        await query_in_thread(wipe)
        await write("news", "news", "news")
        return await read_tail(*arguments)

    monkeypatch.setattr(module, "read_tail", wipe_and_read)
    await relay.catch_up()
    assert reader.is_idle
    monkeypatch.undo()
    await relay.catch_up()
    assert [told(frame)["reason"] for frame in await read(reader)] == ["epoch"]


# --- readers --------------------------------------------------------------------------


async def test_readers_get_what_they_asked_for_and_may_have(relay: Relay) -> None:
    visitor = await subscribe(relay, "*")
    staff = await subscribe(relay, "staff.*", reader=Reader("1", is_staff=True))
    ada = await subscribe(relay, "*", reader=Reader("7"))
    relay.take(await write("news", "staff.ops", "user.7.mail", "user.8.mail"))
    assert await read_numbers(visitor) == [1]
    assert await read_numbers(staff) == [2]
    assert await read_numbers(ada) == [1, 3]


async def test_a_reader_who_comes_later_hears_a_topic_known_before(
    relay: Relay,
) -> None:
    relay.take(await write("news"))
    reader = await subscribe(relay, "news")
    relay.take(await write("news"))
    assert await read_numbers(reader) == [2]


async def test_topics_without_number_are_not_remembered_for_ever(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_TOPICS", 5)
    reader = await subscribe(relay)
    relay.take(await write(*[f"topic.{number}" for number in range(12)]))
    assert len(relay.readers_of) <= 5
    assert await read_numbers(reader) == list(range(1, 13))


async def test_connections_are_limited_for_each_address(
    relay: Relay, settings: Settings
) -> None:
    settings.FEED_MAX_CONNECTIONS_PER_ADDRESS = 2
    first = await subscribe(relay, address="192.0.2.1")
    await subscribe(relay, address="192.0.2.1")
    with pytest.raises(TooMany, match=r"192\.0\.2\.1 has its 2 connections"):
        await subscribe(relay, address="192.0.2.1")
    await subscribe(relay, address="192.0.2.2")
    first.close()
    await subscribe(relay, address="192.0.2.1")


async def test_connections_are_limited_for_the_process(
    relay: Relay, settings: Settings
) -> None:
    settings.FEED_MAX_CONNECTIONS = 2
    await subscribe(relay)
    last = await subscribe(relay)
    with pytest.raises(TooMany, match="this node has its 2 connections"):
        await subscribe(relay)
    last.close()
    await subscribe(relay)


async def test_a_burst_finds_no_more_places_than_there_are(
    relay: Relay, settings: Settings
) -> None:
    settings.FEED_MAX_CONNECTIONS = 5
    settings.FEED_MAX_CONNECTIONS_PER_ADDRESS = 2
    burst = [
        subscribe(relay, since="earliest", address=f"192.0.2.{number % 4}")
        for number in range(40)
    ]
    taken = await asyncio.gather(*burst, return_exceptions=True)
    assert sum(isinstance(one, TooMany) for one in taken) == 35
    assert len(relay.subscriptions) == relay.limits.by_address.total() == 5
    assert max(relay.limits.by_address.values()) <= 2


async def test_a_connection_that_is_not_made_gives_its_place_back(
    relay: Relay, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FEED_MAX_CONNECTIONS = 1

    async def fail(*_: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(module, "read_start", fail)
    for _ in range(3):
        with pytest.raises(DatabaseError):
            await subscribe(relay, since="earliest")
    waiting = asyncio.create_task(subscribe(relay, since="earliest"))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (relay.limits.total, relay.limits.by_address) == (0, Counter())
    await subscribe(relay)


async def test_what_is_remembered_is_bounded(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo.feed.recent.MAX_EVENTS", 10)
    relay.take(await write(*["news"] * 25))
    assert [event.number for event in relay.recent] == list(range(16, 26))
    monkeypatch.setattr("echo.feed.recent.MAX_BYTES", 1000)
    relay.take(await write(*["news"] * 5, data='"' + "x" * 200 + '"'))
    assert relay.recent.bytes == sum(event.size for event in relay.recent) <= 1000


# --- farewell -------------------------------------------------------------------------


async def test_everybody_is_told_bye_with_return_times_spread_out(relay: Relay) -> None:
    readers = [await subscribe(relay) for _ in range(20)]
    leaving = asyncio.create_task(relay.say_farewell())
    byes = [told((await reader.next())[0]) for reader in readers]
    for reader in readers:
        reader.close()
    await asyncio.wait_for(leaving, 1)
    assert {bye["code"] for bye in byes} == {CloseCode.SHUTDOWN}
    assert len({bye["retry_ms"] for bye in byes}) > 10


async def test_who_comes_during_the_farewell_is_told_too(relay: Relay) -> None:
    await relay.say_farewell()
    late = await subscribe(relay)
    assert told((await late.next())[0])["code"] == CloseCode.SHUTDOWN


# --- what it costs --------------------------------------------------------------------


async def test_an_event_is_encoded_once_and_costs_no_database_and_no_task(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [await subscribe(relay, "news") for _ in range(50)]
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
        relay.take(events)
        frames = [await reader.next() for reader in readers]
        wires = {(id(frame.message), id(frame.sse)) for got in frames for frame in got}
    assert [len(got) for got in frames] == [20] * 50
    assert len(wires) == 20
    assert calls == {}


async def test_readers_who_were_away_for_a_moment_need_no_database(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = await write(*["news"] * 10)
    relay.take([first, *rest])
    await subscribe(relay)
    for job in threads.JOBS:
        monkeypatch.setattr(job.executor, "submit", None)
    back = await subscribe(relay, since=first.id)
    assert await read_numbers(back) == list(range(2, 11))


async def test_who_comes_back_first_is_told_of_all_that_was_committed_meanwhile(
    relay: Relay,
) -> None:
    first, *_ = await write(*["news"] * 3)
    relay.take([first])
    back = await subscribe(relay, since=first.id)
    assert [frame.type for frame in await back.ready()] == ["event", "event"]


# --- a relay at work ------------------------------------------------------------------


@pytest.fixture
async def running(transactional_db: None, settings: Settings) -> AsyncIterator[Relay]:
    """This loop's relay with all its jobs, as a server has it."""
    relay = await get_relay()
    yield relay
    await relay.stop()
    del module.relays[asyncio.get_running_loop()]


async def test_a_publish_in_this_process_is_heard(running: Relay) -> None:
    reader = await subscribe(running, "news")
    done = await apublish("news", "小王子")
    (event,) = await asyncio.wait_for(reader.next(), 5)
    assert (str(event.cursor), done.duplicate) == (done.id, False)


async def test_what_another_process_commits_is_found_without_a_doorbell(
    running: Relay,
) -> None:
    reader = await subscribe(running, "news")
    await write("news")  # tells nobody, as a killed process would
    (event,) = await asyncio.wait_for(reader.next(), 5)
    assert event.cursor == running.head


async def test_a_look_that_fails_is_tried_again(
    running: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
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
    assert running.log_up
    warnings = [r.message for r in caplog.records if "watch_log" in r.message]
    assert len(warnings) == 1
    assert "the disk is gone" in warnings[0]


async def test_one_loop_has_one_relay_however_many_ask_at_once(running: Relay) -> None:
    assert set(await asyncio.gather(*[get_relay() for _ in range(5)])) == {running}


async def test_subscribers_and_publishers_at_work_lose_nothing(running: Relay) -> None:
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
async def carried(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Relay:
    relay.nodes.layer = Carrier()
    relay.nodes.carries = True
    return relay


async def test_a_doorbell_brings_the_events_themselves(carried: Relay) -> None:
    reader = await subscribe(carried)
    events = await write("news", "staff.x", "news")
    carried.nodes.hear(message(events, 0.0, 10**6))
    assert await read_numbers(reader) == [1, 3]


async def test_a_doorbell_with_too_much_to_carry_says_look(carried: Relay) -> None:
    events = await write("news", "news")
    assert message(events, 0.0, 100) == {"type": "feed.look"}
    carried.nodes.hear(message(events, 0.0, 100))
    assert carried.look.is_set()


async def test_a_pulse_lists_the_node_and_shows_a_doorbell_that_was_missed(
    carried: Relay,
) -> None:
    pulse = carried.stats.describe() | {"type": "feed.pulse", "told_at": time.time()}
    carried.nodes.hear(pulse | {"node": "other"})
    assert set(carried.nodes.known) == {"other"}
    assert not carried.look.is_set()
    ahead = {"type": "feed.pulse", "node": "other", "head": f"{carried.head.epoch}-9"}
    carried.nodes.hear(ahead)
    assert carried.look.is_set()


async def test_a_listener_that_ends_leaves_its_group(carried: Relay) -> None:
    assert isinstance(carried.nodes.layer, Carrier)
    groups = carried.nodes.layer.groups
    listening = asyncio.create_task(carried.nodes.listen())
    await until(lambda: groups.get(carried.nodes.group))
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert not groups.get(carried.nodes.group)


async def test_a_silent_layer_is_down_and_back_with_its_first_sound(
    carried: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    carried.nodes.heard_at = carried.loop.time()
    carried.nodes.up = False
    assert carried.nodes.state == "down"
    carried.nodes.hear({"type": "feed.look"})
    assert carried.nodes.state == "up"
    assert carried.look.is_set()


def test_the_database_of_these_tests_is_a_file() -> None:
    assert "memory" not in str(connections["default"].settings_dict["NAME"])
