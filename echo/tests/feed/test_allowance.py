"""History is read once for those who ask the same, and at the pace an address is allowed."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from pytest_django import Settings

from echo.feed import allowance, log, replay, shared
from echo.feed import history as module
from echo.feed.allowance import Allowances
from echo.feed.node import Node
from echo.feed.shared import SharedReads
from echo.protocol import TooMany
from echo.tests.feed.reading import numbers, read, read_numbers, subscribe, until, write

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])

Counts = Counter[str]


@pytest.fixture(autouse=True)
def shared_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is shared for longer than a test takes."""
    monkeypatch.setattr(shared, "SHARED_SECONDS", 3600.0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """How often history has been read from the database."""
    counts: Counts = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: Any) -> Any:
            counts[name] += 1
            return await function(*arguments)

        return call

    for name in ("read_start", "read_page"):
        monkeypatch.setattr(module, name, counting(name, getattr(module, name)))
    return counts


async def forget(node: Node) -> None:
    """Nothing is in memory: history comes from the log."""
    await node.relay.catch_up()
    node.history.recent.clear()


# --- shared ----------------------------------------------------------------------------


async def test_readers_who_missed_the_same_are_given_the_same_page(
    node: Node, reads: Counts
) -> None:
    first, *_ = await write(*["news"] * 5)
    await forget(node)
    readers = [await subscribe(node, "news", since=first.id) for _ in range(20)]
    pages = await asyncio.gather(*(reader.ready() for reader in readers))
    assert numbers(pages[0]) == [2, 3, 4, 5]
    assert all(page[0] is pages[0][0] for page in pages)
    assert reads == {"read_start": 1, "read_page": 1}


async def test_one_who_gives_up_leaves_the_read_to_the_others() -> None:
    reads = SharedReads()
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ask() -> int:
        return await answer

    one, other = (asyncio.create_task(reads.read("key", ask)) for _ in range(2))
    await until(lambda: reads.knows("key"))
    one.cancel()
    await asyncio.sleep(0)
    answer.set_result(7)
    assert await other == 7


async def test_a_read_that_failed_is_tried_again() -> None:
    reads = SharedReads()

    async def fail() -> int:
        raise OperationalError("away")

    async def answer() -> int:
        return 7

    with pytest.raises(OperationalError):
        await reads.read("key", fail)
    assert await reads.read("key", answer) == 7


async def test_answers_are_shared_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared, "SHARED_SECONDS", 0.01)
    monkeypatch.setattr(shared, "MAX_SHARED", 3)
    reads = SharedReads()

    async def answer() -> int:
        return 7

    for key in range(10):
        await reads.read(key, answer)
        assert len(reads.reads) <= 3
    await until(lambda: not reads.reads)


# --- allowed ---------------------------------------------------------------------------


async def test_an_address_that_asks_for_too_much_history_is_refused(
    node: Node, settings: Settings, reads: Counts
) -> None:
    settings.FEED_HISTORY_READS_PER_SECOND = 1
    node.history.allowances.clock = lambda: 0.0
    first, *_ = await write(*["news"] * 3)
    await forget(node)
    for number in range(allowance.BURST_SECONDS):
        await subscribe(node, f"a{number}", since=first.id, address="192.0.2.1")
    with pytest.raises(TooMany, match=r"192\.0\.2\.1 has had its 1 reads"):
        await subscribe(node, "b", since=first.id, address="192.0.2.1")
    await subscribe(node, "b", since=first.id, address="192.0.2.2")
    await subscribe(node, "b", since="now", address="192.0.2.1")
    # Somebody has asked the same a moment ago.
    await subscribe(node, "a0", since=first.id, address="192.0.2.1")
    assert reads["read_start"] == allowance.BURST_SECONDS + 1


async def test_what_memory_has_is_not_counted(node: Node, settings: Settings) -> None:
    settings.FEED_HISTORY_READS_PER_SECOND = 1
    first, *_ = await write(*["news"] * 3)
    node.relay.receive_events([first])
    await node.relay.catch_up()
    for _ in range(20):
        reader = await subscribe(node, since=first.id, address="192.0.2.1")
        assert await read_numbers(reader) == [2, 3]


async def test_a_replay_goes_on_at_the_pace_that_is_allowed(
    node: Node, settings: Settings, monkeypatch: pytest.MonkeyPatch, reads: Counts
) -> None:
    settings.FEED_HISTORY_READS_PER_SECOND = 40
    monkeypatch.setattr(allowance, "BURST_SECONDS", 0.05)  # two reads
    monkeypatch.setattr(log, "PAGE_EVENTS", 2)
    await write(*["news"] * 20)
    await forget(node)
    reader = await subscribe(node, since="earliest")
    began_at = node.loop.time()
    assert await read_numbers(reader) == list(range(1, 21))
    assert reads["read_page"] == 10
    assert node.loop.time() - began_at > 8 / 40


async def test_one_address_reads_one_page_at_a_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way: Counts = Counter()
    most: Counts = Counter()
    answered = asyncio.Event()

    async def read_slowly(interest: Any, after: int, up_to: int) -> Any:
        address = interest.patterns[0]
        under_way[address] += 1
        most[address] = max(most[address], under_way[address])
        await answered.wait()
        under_way[address] -= 1
        return replay.Page([], up_to)

    first, *_ = await write(*["news"] * 3)
    await forget(node)
    monkeypatch.setattr(module, "read_page", read_slowly)
    readers = [
        await subscribe(node, one, f"x{turn}", since=first.id, address=one)
        for turn in range(4)
        for one in ("a", "b")
    ]
    tasks = [asyncio.create_task(reader.ready()) for reader in readers]
    await until(lambda: under_way == {"a": 1, "b": 1})
    answered.set()
    await asyncio.gather(*tasks)
    assert most == {"a": 1, "b": 1}


def test_addresses_are_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allowance, "MAX_ADDRESSES", 10)
    allowances = Allowances(lambda: 0.0)
    for number in range(50):
        allowances.spend(f"192.0.2.{number}")
    assert len(allowances.known) == 10


# --- pages that are bounded ------------------------------------------------------------


@pytest.mark.parametrize("source", ["memory", "log", "queue"])
async def test_what_a_writer_holds_at_once_is_bounded_in_bytes(
    node: Node, source: str
) -> None:
    big = '"' + "x" * 60_000 + '"'
    live = await subscribe(node, since="now")
    events = [event for _ in range(12) for event in await write("news", data=big)]
    reader = live
    if source == "queue":
        node.relay.receive_events(events)
    else:
        await node.relay.catch_up()
        if source == "log":
            node.history.recent.clear()
        reader = await subscribe(node, since="earliest")
    given: list[int] = []
    while page := await reader.ready():
        assert sum(len(frame.json) for frame in page) <= log.PAGE_BYTES
        assert reader.position == page[-1].cursor
        given += numbers(page)
    assert given == list(range(1, 13))
    assert reader.queued_bytes == 0


# --- a log that cannot be read ---------------------------------------------------------


async def test_hello_does_not_wait_for_a_log_that_is_away(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*arguments: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr(module, "read_oldest", fail)
    reader = await subscribe(node)
    assert (await reader.hello()).fields["oldest"] == str(node.history.head)
    assert await read(reader) == []
