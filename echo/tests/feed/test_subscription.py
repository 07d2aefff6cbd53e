"""A subscription: from past to live, too slow and back, reset, and told goodbye."""

import asyncio
import random
import time
from collections.abc import Sequence

import pytest
from pytest_django import Settings

from echo.feed import Connection, Event, Frame, Reader, Subscription, subscription
from echo.feed.access import Interest
from echo.feed.node import Node
from echo.feed.subscription import BYE_SECONDS, State
from echo.protocol import CloseCode, EventId
from echo.tests.feed.reading import (
    Transcript,
    page,
    prune,
    read,
    read_numbers,
    subscribe,
    told,
    until,
    write,
)
from echo.tests.live import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])


# --- from past to live ----------------------------------------------------------------


async def test_a_reader_from_now_is_live_at_once(node: Node) -> None:
    node.relay.receive_events(await write("news"))
    reader = await subscribe(node)
    assert reader.state is State.LIVE
    assert await read(reader) == []
    node.relay.receive_events(await write("news", "news"))
    assert await read_numbers(reader) == [2, 3]


async def test_missed_events_are_replayed_in_order_and_then_live(node: Node) -> None:
    first, *_ = await write("news", "news", "other", "news")
    await node.relay.catch_up()
    reader = await subscribe(node, "news", since=first.id)
    assert reader.resumed
    assert await read_numbers(reader) == [2, 4]
    node.relay.receive_events(await write("news"))
    assert await read_numbers(reader) == [5]


async def test_earliest_is_all_that_is_kept(node: Node) -> None:
    await write("news", "other", "news")
    await node.relay.catch_up()
    reader = await subscribe(node, "news", since="earliest")
    assert not reader.resumed
    assert await read_numbers(reader) == [1, 3]


async def test_an_event_committed_during_the_replay_comes_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(*["news"] * 3)
    await node.relay.catch_up()
    node.history.recent.clear()  # so that the log itself is read
    reader = await subscribe(node, since="earliest")

    async def read_while_publishing(*arguments: object) -> object:
        node.relay.receive_events(await write("news", "news"))
        return await page(*arguments)

    monkeypatch.setattr("echo.feed.history.read_page", read_while_publishing)
    assert await read_numbers(reader) == [1, 2, 3, 4, 5]
    assert reader.state is State.LIVE


async def test_a_reader_ahead_of_its_node_makes_the_node_catch_up(node: Node) -> None:
    *_, last = await write("news", "news")  # no doorbell has told this node
    reader = await subscribe(node, since=last.id)
    assert node.history.head == last.id
    assert await read(reader) == []
    node.relay.receive_events(await write("news"))
    assert await read_numbers(reader) == [3]


async def test_every_reader_is_handed_the_same_object(node: Node) -> None:
    readers = [await subscribe(node, "news") for _ in range(3)]
    (event,) = await write("news")
    node.relay.receive_events([event])
    frames = [await reader.next() for reader in readers]
    assert all(len(got) == 1 and got[0] is event for got in frames)


# --- any interleaving -----------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bound so small that each is met many times in a short test."""
    monkeypatch.setattr("echo.feed.log.PAGE_EVENTS", 7)
    monkeypatch.setattr("echo.feed.recent.MAX_EVENTS", 10)
    monkeypatch.setattr(subscription, "MAX_QUEUED_EVENTS", 12)


async def publish_somehow(chance: random.Random, node: Node, turns: int) -> None:
    """Commit events; lose, double, delay or reorder their doorbells."""
    waiting: list[list[Event]] = []
    for _ in range(turns):
        topics = chance.choices(["news", "news.eu", "other"], k=chance.randint(1, 6))
        waiting.append(await write(*topics))
        chance.shuffle(waiting)
        while waiting and chance.random() < 0.7:
            events = waiting.pop()
            if chance.random() < 0.7:
                node.relay.receive_events(events)
            if chance.random() < 0.2:
                waiting.append(events)
        if chance.random() < 0.3:
            await node.relay.catch_up()
    await node.relay.catch_up()


async def read_somehow(
    chance: random.Random, reader: Subscription, transcript: Transcript
) -> None:
    """Read with pauses, so that the reader is live and behind in turn."""
    while True:
        transcript.take(await reader.next())
        for _ in range(chance.choice([0, 0, 1, 20])):
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.usefixtures("narrow")
async def test_nothing_is_lost_doubled_or_swapped_however_things_fall(
    node: Node, seed: int
) -> None:
    chance = random.Random(seed)
    await publish_somehow(chance, node, 5)
    tasks, transcripts = [], []
    for patterns in (["*"], ["news"], ["news.*", "other"]):
        reader = await subscribe(node, *patterns, since="earliest")
        transcript = Transcript(reader.position)
        transcripts.append((reader, transcript))
        tasks.append(asyncio.create_task(read_somehow(chance, reader, transcript)))
    try:
        await publish_somehow(chance, node, 25)
        await until(lambda: all(reader.is_idle for reader, _ in transcripts))
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 3, ends
    for reader, transcript in transcripts:
        kept = await whole(reader.interest, node.history.head.number)
        assert transcript.seen == kept
        assert transcript.resets == []


async def whole(interest: object, last: int) -> list[int]:
    """Return what the log holds for an interest, page by page."""
    found: list[int] = []
    reached = 0
    while reached < last:
        got = await page(interest, reached, last)
        found += [event.number for event in got.events]
        reached = got.reached
    return found


# --- too slow, and back ---------------------------------------------------------------


@pytest.mark.parametrize("bound", ["MAX_QUEUED_EVENTS", "MAX_QUEUED_BYTES"])
async def test_a_slow_reader_s_queue_is_dropped_and_the_log_serves_it(
    node: Node, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(subscription, bound, 5 if bound.endswith("EVENTS") else 500)
    reader = await subscribe(node)
    node.relay.receive_events(await write(*["news"] * 20))
    assert reader.state is State.BEHIND
    assert (len(reader.queue), reader.queued_bytes) == (0, 0)
    assert await read_numbers(reader) == list(range(1, 21))
    assert reader.state is State.LIVE
    node.relay.receive_events(await write("news"))
    assert await read_numbers(reader) == [21]


async def test_a_reader_who_never_reads_holds_no_event(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "MAX_QUEUED_EVENTS", 5)
    reader = await subscribe(node)
    longest = 0
    for _ in range(10):
        node.relay.receive_events(await write(*["news"] * 4))
        longest = max(longest, len(reader.queue))
    assert longest <= 5
    assert len(reader.queue) == 0


async def test_a_replay_that_retention_overtakes_is_reset_and_goes_on(
    node: Node, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo.feed.log.PAGE_EVENTS", 2)
    await write(*["news"] * 6)
    await node.relay.catch_up()
    node.history.recent.clear()
    reader = await subscribe(node, "news", since="earliest")
    assert [frame.cursor.number for frame in await reader.due() if frame.cursor] == [
        1,
        2,
    ]
    settings.FEED_RETENTION_EVENTS = 1
    await prune()
    (reset,) = await read(reader)
    epoch = node.history.head.epoch
    assert told(reset) == {
        "type": "reset",
        "reason": "expired",
        "asked": f"{epoch}-2",
        "last_event_id": f"{epoch}-6",
    }
    node.relay.receive_events(await write("news"))
    assert await read_numbers(reader) == [7]


async def test_a_reader_of_a_quiet_topic_is_not_reset_with_the_others(
    node: Node, settings: Settings
) -> None:
    (first,) = await write("quiet")
    await write(*["busy"] * 9, "quiet")
    await node.relay.catch_up()
    settings.FEED_RETENTION_EVENTS = 2
    await prune()
    node.history.recent.clear()
    quiet = await subscribe(node, "quiet", since=first.id)
    busy = await subscribe(node, "busy", since=first.id)
    assert await read_numbers(quiet) == [11]
    assert [told(frame)["reason"] for frame in await read(busy)] == ["expired"]


# --- notices --------------------------------------------------------------------------


async def waiting(reader: Subscription) -> asyncio.Task[Sequence[Frame]]:
    """A transport that waits for the next frames."""
    task = asyncio.create_task(reader.next())
    await until(lambda: reader.arrival is not None)
    return task


async def got(task: asyncio.Task[Sequence[Frame]]) -> Sequence[Frame]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await task


async def test_a_heartbeat_comes_after_a_silence_and_moves_the_cursor(
    node: Node,
) -> None:
    reader = await subscribe(node, "news")
    task = await waiting(reader)
    events = await write("other", "other")
    node.relay.receive_events(events)
    reader.beat(reader.active_at + 19.9)
    assert not reader.notices
    reader.beat(reader.active_at + 20)
    (heartbeat,) = await got(task)
    assert told(heartbeat) == {"type": "heartbeat", "last_event_id": str(events[-1].id)}
    reader.beat(time.monotonic())
    assert not reader.notices  # the heartbeat was a sign of life too


async def test_a_heartbeat_never_overtakes_an_event(node: Node) -> None:
    reader = await subscribe(node)
    task = await waiting(reader)
    node.relay.receive_events(await write("news"))
    reader.beat(reader.active_at + 1000)
    (event,) = await got(task)
    assert isinstance(event, Event)


async def test_a_transport_that_is_busy_sending_gets_no_heartbeat(node: Node) -> None:
    reader = await subscribe(node)
    reader.beat(reader.active_at + 1000)
    assert not reader.notices


async def test_hello_says_where_the_stream_begins(node: Node) -> None:
    first, last = await write("news", "news")
    await node.relay.catch_up()
    reader = await subscribe(node, since=first.id)
    assert told(await reader.hello()) == {
        "type": "hello",
        "connection": reader.connection.id,
        "node": node.name,
        "oldest": f"{last.epoch}-0",
        "resumed": True,
        "heartbeat_seconds": 20,
        "last_event_id": str(first.id),
    }


async def test_hello_before_a_reset_moves_no_cursor(node: Node) -> None:
    await write("news")
    await node.relay.catch_up()
    reader = await subscribe(node, since="00000000-7")
    hello = await reader.hello()
    assert hello.cursor is None
    assert told(hello)["resumed"] is False
    (reset,) = await read(reader)
    assert told(reset) == {
        "type": "reset",
        "reason": "epoch",
        "asked": "00000000-7",
        "last_event_id": str(node.history.head),
    }


async def test_bye_is_the_last_frame_whatever_waits(node: Node) -> None:
    reader = await subscribe(node)
    node.relay.receive_events(await write("news", "news"))
    reader.end(CloseCode.SHUTDOWN, "shutdown", 1.83)
    assert not reader.is_over
    (bye,) = await reader.next()
    assert reader.is_over
    assert told(bye) == {
        "type": "bye",
        "code": 4001,
        "reason": "shutdown",
        "retry_ms": 1830,
    }
    assert bye.cursor is None


async def test_the_first_bye_is_the_one_that_counts(node: Node) -> None:
    reader = await subscribe(node)
    reader.end(CloseCode.BAD_REQUEST, "the feed takes no messages")
    reader.end(CloseCode.SHUTDOWN, "shutdown")
    assert [told(frame)["code"] for frame in await reader.next()] == [4501]


async def test_a_subscription_ends_when_its_time_is_over(node: Node) -> None:
    reader = await subscribe(node)
    reader.expire_in(600)
    reader.beat(time.monotonic() + 599)
    assert reader.bye is None
    reader.beat(time.monotonic() + 600)
    assert told(next(iter(await reader.next())))["code"] == CloseCode.ASKED_TO_RECONNECT


async def test_a_connection_that_is_not_gone_a_while_after_bye_is_cut(
    node: Node,
) -> None:
    cuts: list[str] = []
    connection = Connection("test", cut=lambda: cuts.append("cut"))
    reader = await node.subscribe(Interest(("*",), Reader()), "now", connection, 20)
    reader.expire_in(600)
    reader.end(CloseCode.DISCONNECTED_BY_OPERATOR, "go")
    ended_at = time.monotonic()
    reader.beat(ended_at + BYE_SECONDS - 1)
    assert cuts == []
    reader.beat(ended_at + BYE_SECONDS)
    assert cuts == ["cut"]


# --- the cursor -----------------------------------------------------------------------


async def test_the_cursor_of_an_idle_reader_moves_with_the_log(node: Node) -> None:
    reader = await subscribe(node, "news")
    (event,) = await write("other")
    node.relay.receive_events([event])
    assert reader.cursor == event.id


async def test_the_cursor_of_a_reader_is_before_all_that_waits_for_it(
    node: Node,
) -> None:
    reader = await subscribe(node, "news")
    node.relay.receive_events(await write("other", "news", "news"))
    cursor = reader.cursor
    assert cursor.number < 2
    again = await subscribe(node, "news", since=cursor)
    assert await read_numbers(again) == await read_numbers(reader) == [2, 3]


async def test_a_cancelled_wait_loses_nothing(node: Node) -> None:
    reader = await subscribe(node)
    task = await waiting(reader)
    task.cancel()
    node.relay.receive_events(await write("news"))
    await asyncio.gather(task, return_exceptions=True)
    assert await read_numbers(reader) == [1]


async def test_a_closed_subscription_leaves_nothing_behind(node: Node) -> None:
    reader = await subscribe(node, address="192.0.2.1")
    node.relay.receive_events(await write("news"))
    reader.close()
    reader.close()
    assert node.hub.subscriptions == {}
    assert not node.hub.limits.by_address
    assert not node.hub.by_pattern


async def test_a_position_is_an_id_of_the_log_s_present_life(node: Node) -> None:
    reader = await subscribe(node)
    assert reader.position == EventId(node.history.head.epoch, 0)
