"""Publishing from code: judged first, out with the COMMIT, harmless to repeat."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from django.db import transaction

from echo.feed import (
    apublish,
    apublish_many,
    doorbell,
    get_node,
    log,
    publish,
    publish_many,
)
from echo.feed.doorbell import MAX_WAITING_MESSAGES, Sender
from echo.feed.node import Node
from echo.models import Event
from echo.protocol import FeedError, TooLarge
from echo.tests.feed.reading import subscribe
from echo.tests.live import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])


def test_an_event_is_in_the_log_with_who_and_whence() -> None:
    done = publish("news.eu", {"a": ["小王子"]}, source="http", author="ada")
    row = Event.objects.get()
    assert done.id == str(done)
    assert done.id.endswith(f"-{row.number}")
    assert (row.topic, row.data, row.source, row.author, row.key) == (
        "news.eu",
        '{"a":["小王子"]}',
        "http",
        "ada",
        None,
    )


def test_a_retry_with_the_same_key_is_harmless() -> None:
    first = publish("news", 1, key="k")
    again = publish("news", 1, key="k")
    assert (again.id, first.duplicate, again.duplicate) == (first.id, False, True)
    assert Event.objects.count() == 1


def test_many_are_published_in_order_and_all_or_none() -> None:
    done = publish_many({"topic": "news", "data": number} for number in range(5))
    assert [one.id for one in done] == sorted(one.id for one in done)
    with pytest.raises(FeedError):
        publish_many([{"topic": "news", "data": 5}, {"topic": "no topic", "data": 6}])
    assert [row.data for row in Event.objects.order_by("number")] == list("01234")
    assert publish_many([]) == []


LONG = pytest.param(10**5000, id="a long number")
DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]
NESTED = pytest.param(DEEP, id="nested deeply")


@pytest.mark.parametrize(
    "topic",
    ["", "a b", "*", "news.*", None, 7, "x" * 91, "\ud800", "a\0", LONG, ["news"]],
)
def test_what_is_no_topic_is_refused(topic: Any) -> None:
    with pytest.raises(FeedError, match="topic: expected words"):
        publish(topic, 1)


@pytest.mark.parametrize(
    "key", ["", "x" * 201, 7, "a\0b", "\ud800", "a\udfff", LONG, NESTED, float("nan")]
)
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(FeedError, match="key: expected 1 to 200 characters"):
        publish("news", 1, key=key)


@pytest.mark.parametrize(
    "data",
    ["\ud800", {"\ud800": 1}, ["\udfff"], LONG, float("nan"), 1e400, NESTED, b"x"],
)
def test_what_is_no_data_is_refused(data: Any) -> None:
    with pytest.raises(FeedError, match="data: expected a JSON value"):
        publish("news", data)


def test_data_that_is_too_large_is_refused() -> None:
    with pytest.raises(TooLarge):
        publish("news", "x" * 65536)
    assert not Event.objects.exists()


async def test_coroutines_publish_too() -> None:
    one = await apublish("news", 1, key="k")
    two = await apublish_many([{"topic": "news", "data": 2}, {"topic": "b", "data": 3}])
    assert [done.id.split("-")[1] for done in (one, *two)] == ["1", "2", "3"]


# --- transactions ---------------------------------------------------------------------


@pytest.fixture
async def running(transactional_db: None) -> AsyncIterator[Node]:
    running = await get_node()
    yield running
    await running.stop()


def publish_two_and(outcome: str) -> None:
    """Publish within a transaction that commits, or rolls back."""
    with transaction.atomic():
        publish("news", "first")
        publish("news", "second")
        transaction.set_rollback(outcome == "rollback")


async def test_a_publish_goes_out_with_its_commit_and_dies_with_its_rollback(
    running: Node,
) -> None:
    reader = await subscribe(running, "news")
    await asyncio.to_thread(publish_two_and, "rollback")
    await asyncio.to_thread(publish_two_and, "commit")
    frames: list[Any] = []
    while len(frames) < 2:
        frames += await asyncio.wait_for(reader.next(), PATIENCE_SECONDS)
    assert [(event.number, event.data) for event in frames] == [
        (1, '"first"'),
        (2, '"second"'),
    ]


async def test_nothing_goes_out_before_its_commit(running: Node) -> None:
    reader = await subscribe(running, "news")
    published, commit = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            publish("news", 1)
            published.set()
            commit.wait(PATIENCE_SECONDS)

    holding = asyncio.create_task(asyncio.to_thread(hold))
    await asyncio.to_thread(published.wait, PATIENCE_SECONDS)
    await running.relay.catch_up()
    assert reader.is_idle
    commit.set()
    await holding
    assert len(await asyncio.wait_for(reader.next(), PATIENCE_SECONDS)) == 1


# --- the doorbell ---------------------------------------------------------------------


class Carrier(InMemoryChannelLayer):
    """Keeps what is rung; with ``broken``, fails like a layer whose Redis is down."""

    broken = False

    def __init__(self) -> None:
        super().__init__()
        self.rung: list[Any] = []

    async def group_send(self, group: str, message: Any) -> None:
        if self.broken:
            raise ConnectionError("connection refused")
        self.rung.append((group, message))


@pytest.fixture
def carrier(monkeypatch: pytest.MonkeyPatch) -> Iterator[Carrier]:
    """A channel layer that carries to other processes, and a doorbell to ring there."""
    carrier, sender = Carrier(), Sender()
    monkeypatch.setattr(doorbell, "InMemoryChannelLayer", type(None))
    monkeypatch.setattr(doorbell, "sender", sender)
    monkeypatch.setitem(channel_layers.backends, "default", carrier)
    yield carrier
    sender.flush()


def test_every_commit_rings_once_with_its_events(carrier: Carrier) -> None:
    publish_two_and("rollback")
    publish_many([{"topic": "a", "data": 1}, {"topic": "b", "data": 2}])
    wait_until(lambda: carrier.rung, "the doorbell")
    ((group, message),) = carrier.rung
    assert (group, message["type"]) == (
        doorbell.group_name(log.head().epoch),
        "feed.events",
    )
    assert [event.topic for event in doorbell.unpack_events(message)] == ["a", "b"]


def test_a_duplicate_rings_nobody(carrier: Carrier) -> None:
    publish("news", 1, key="k")
    publish("news", 1, key="k")
    publish("news", 2)
    wait_until(lambda: len(carrier.rung) == 2, "two doorbells")


def test_a_layer_that_is_down_costs_a_publisher_nothing_but_one_warning(
    carrier: Carrier, caplog: pytest.LogCaptureFixture
) -> None:
    carrier.broken = True
    for number in range(5):
        publish("news", number)
    wait_until(lambda: caplog.records, "the warning")
    carrier.broken = False
    publish("news", 5)
    wait_until(lambda: carrier.rung, "the doorbell")
    assert Event.objects.count() == 6
    assert ["the channel layer is down" in r.message for r in caplog.records] == [True]


def test_doorbells_that_wait_are_bounded(carrier: Carrier) -> None:
    sender, gate = Sender(), threading.Event()
    sender.running_loop().call_soon_threadsafe(gate.wait, PATIENCE_SECONDS)
    for _ in range(MAX_WAITING_MESSAGES + 50):
        sender.send("feed.x", {"type": "feed.look"})
    assert sender.pending == MAX_WAITING_MESSAGES
    gate.set()
    sender.flush()
    assert len(carrier.rung) == MAX_WAITING_MESSAGES
