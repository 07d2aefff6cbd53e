"""Group commit: what waits is committed together, and each caller has its own outcome."""

import asyncio
import gc
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from echo.feed import apublish, apublish_many, group, log, metrics, publish
from echo.feed import publish_many as publish_list
from echo.feed import threads as database
from echo.feed.event import Event
from echo.feed.group import Interrupted, Publish, commits
from echo.feed.log import Entry, Published
from echo.feed.threads import Unanswered
from echo.models import Event as EventRow
from echo.tests.live import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])

Append = Callable[[Sequence[Entry]], tuple[list[Event], list[Published]]]


class Gate:
    """SQLite's write lock: while it is held, a commit is under way and others wait."""

    def __init__(self) -> None:
        name = connection.settings_dict["NAME"]
        self.connection = sqlite3.connect(
            name, isolation_level=None, check_same_thread=False
        )
        self.connection.execute("BEGIN IMMEDIATE")

    def open(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def close_connection() -> None:
    """Close the connection of the thread that commits for coroutines."""
    # Not `connection.close`, which would be this thread's.
    closed = commits.threads.executor.submit(lambda: connection.close())
    closed.result(PATIENCE_SECONDS)


@pytest.fixture
def gate(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A gate that is closed, which may be held for longer than the site's limits allow."""
    for module in (database, group):
        monkeypatch.setattr(module, "ANSWER_SECONDS", PATIENCE_SECONDS)
        monkeypatch.setattr(module, "LOCK_MILLISECONDS", int(1000 * PATIENCE_SECONDS))
    # Its connection keeps the limit that it was opened with.
    close_connection()
    gate = Gate()
    with closing(gate.connection):
        yield gate
    close_connection()


Call = Callable[..., Future[Any]]


@pytest.fixture
def in_thread() -> Iterator[Call]:
    """Call a function in a thread of its own, with its own connection."""

    def run(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        finally:
            connection.close()

    with ThreadPoolExecutor(50) as pool:
        yield lambda function, *a, **n: pool.submit(run, function, *a, **n)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events there were in each commit."""
    sizes: list[int] = []
    monkeypatch.setattr(
        group.doorbell, "ring_events", lambda events: sizes.append(len(events))
    )
    return sizes


def commit_is_under_way() -> bool:
    """Return True while a commit takes all there is: ask it before more is published."""
    return commits.leader is not None and not commits.queue


def wait_for_queue(count: int) -> None:
    wait_until(lambda: len(commits.queue) == count, f"{count} publishes in the queue")


async def queued(count: int) -> None:
    await asyncio.to_thread(wait_for_queue, count)


async def under_way() -> None:
    await asyncio.to_thread(wait_until, commit_is_under_way, "a commit under way")


def entry(data: str) -> Entry:
    return Entry("news", f'"{data}"', None, EventRow.Source.CODE, "")


def numbers(published: Sequence[Published]) -> list[int]:
    return [int(one.id.split("-")[1]) for one in published]


def in_log() -> list[str]:
    return [row.data for row in EventRow.objects.order_by("number")]


# --- together -------------------------------------------------------------------------


async def test_coroutines_that_publish_meanwhile_share_the_next_commit(
    gate: Gate, sizes: list[int]
) -> None:
    first = asyncio.create_task(apublish("news", "first"))
    await under_way()
    others = [asyncio.create_task(apublish("news", number)) for number in range(20)]
    await queued(20)
    gate.open()
    published = await asyncio.gather(first, *others)
    assert numbers(published) == list(range(1, 22))
    assert sizes == [1, 20]


def test_threads_that_publish_meanwhile_share_the_next_commit(
    gate: Gate, sizes: list[int], in_thread: Call
) -> None:
    first = in_thread(publish, "news", "first")
    wait_until(commit_is_under_way, "a commit under way")
    others = []
    for number in range(20):
        others.append(in_thread(publish, "news", number))
        wait_for_queue(number + 1)
    gate.open()
    published = [one.result(PATIENCE_SECONDS) for one in (first, *others)]
    assert numbers(published) == list(range(1, 22))
    assert sizes == [1, 20]
    assert in_log() == ['"first"', *map(str, range(20))]


async def test_threads_and_coroutines_share_commits(
    gate: Gate, sizes: list[int], in_thread: Call
) -> None:
    async def alternately() -> list[Any]:
        calls: list[Any] = []
        for number in range(30):
            calls.append(
                asyncio.wrap_future(in_thread(publish, "news", number))
                if number % 2
                else asyncio.create_task(apublish("news", number))
            )
            await (queued(number) if number else under_way())
        return calls

    calls = await alternately()
    gate.open()
    assert numbers(await asyncio.gather(*calls)) == list(range(1, 31))
    assert sizes == [1, 29]


async def test_a_group_is_bounded_and_a_larger_publish_goes_alone(
    gate: Gate, sizes: list[int], in_thread: Call
) -> None:
    calls: list[asyncio.Future[Any]] = []
    for turn, count in enumerate((1, 30, 30, 10, 10, 60, 1)):
        events = [{"topic": "news", "data": number} for number in range(count)]
        calls.append(asyncio.create_task(apublish_many(events)))
        await (queued(turn) if turn else under_way())
    calls.append(asyncio.wrap_future(in_thread(publish_list, events * 3)))
    await queued(7)
    gate.open()
    published = [one for call in await asyncio.gather(*calls) for one in call]
    assert numbers(published) == list(range(1, len(published) + 1))
    assert sizes == [1, 30, 50, 60, 4]


def test_a_thread_hands_the_lead_to_the_next(
    gate: Gate, sizes: list[int], in_thread: Call
) -> None:
    events = [{"topic": "news", "data": number} for number in range(40)]
    calls = [in_thread(publish_list, events)]
    wait_until(commit_is_under_way, "a commit under way")
    for count in range(1, 6):
        calls.append(in_thread(publish_list, events))
        wait_for_queue(count)
    gate.open()
    published = [one for call in calls for one in call.result(PATIENCE_SECONDS)]
    assert numbers(published) == list(range(1, 241))
    assert sizes == [40] * 6
    assert commits.leader is None


async def test_a_key_used_twice_in_a_group_names_one_event(gate: Gate) -> None:
    first = asyncio.create_task(apublish("news", "first"))
    await under_way()
    same = [asyncio.create_task(apublish("news", n, key="k")) for n in range(3)]
    other = asyncio.create_task(apublish("sport", 3, key="k"))
    await queued(4)
    gate.open()
    published = await asyncio.gather(first, *same, other)
    assert numbers(published) == [1, 2, 2, 2, 3]
    assert [one.duplicate for one in published] == [False, False, True, True, False]
    assert await asyncio.to_thread(in_log) == ['"first"', "0", "3"]


async def test_each_source_is_counted_and_each_call_timed(gate: Gate) -> None:
    def counted() -> list[float]:
        sources = ("admin", "http")
        return [
            *(metrics.published.labels(source)._value.get() for source in sources),
            metrics.publish_seconds._sum.get(),
        ]

    before = counted()
    calls = [asyncio.create_task(apublish("news", 0, source="admin"))]
    await under_way()
    calls += [asyncio.create_task(apublish("news", n, source="http")) for n in (1, 2)]
    await queued(2)
    gate.open()
    await asyncio.gather(*calls)
    after = counted()
    assert [after[0] - before[0], after[1] - before[1]] == [1, 2]
    assert after[2] > before[2]


async def test_a_transaction_s_events_are_its_own(gate: Gate, in_thread: Call) -> None:
    def roll_back() -> None:
        with transaction.atomic():
            publish("news", "dead")
            transaction.set_rollback(True)

    calls = [asyncio.create_task(apublish("news", 0))]
    await under_way()
    calls += [asyncio.create_task(apublish("news", n)) for n in range(1, 5)]
    await queued(4)
    rolling_back = in_thread(roll_back)
    gate.open()
    assert numbers(await asyncio.gather(*calls)) == [1, 2, 3, 4, 5]
    rolling_back.result(PATIENCE_SECONDS)
    assert (await apublish("news", "last")).id.endswith("-6")


# --- to each its own error ------------------------------------------------------------


@pytest.fixture
def appends(monkeypatch: pytest.MonkeyPatch) -> Callable[[Append], None]:
    """Have a function called before the log writes; what it raises is the commit's end."""
    append = log.append

    def replace(before: Callable[[Sequence[Entry]], Any]) -> None:
        def append_after(entries: Sequence[Entry]) -> Any:
            before(entries)
            return append(entries)

        monkeypatch.setattr(log, "append", append_after)

    return replace


async def gather_group(gate: Gate, *data: Any) -> list[Any]:
    """Publish once, and then all of the data in one group; return its outcomes."""
    first = asyncio.create_task(apublish("news", "first"))
    await under_way()
    calls = [asyncio.create_task(apublish("news", one)) for one in data]
    await queued(len(calls))
    gate.open()
    await first
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_an_error_of_one_publish_is_not_the_others(
    gate: Gate, appends: Any
) -> None:
    def refuse_bad(entries: Sequence[Entry]) -> None:
        if any(entry.data == '"bad"' for entry in entries):
            raise IntegrityError("bad")

    appends(refuse_bad)
    one, bad, two = await gather_group(gate, 1, "bad", 2)
    assert isinstance(bad, IntegrityError)
    assert numbers([one, two]) == [2, 3]
    assert await asyncio.to_thread(in_log) == ['"first"', "1", "2"]


async def test_a_database_that_fails_is_asked_once_for_a_group(
    gate: Gate, appends: Any
) -> None:
    asked: list[int] = []

    def fail_groups(entries: Sequence[Entry]) -> None:
        asked.append(len(entries))
        if entries[0].data != '"first"':
            raise OperationalError("the connection is lost")

    appends(fail_groups)
    errors = await gather_group(gate, *range(5))
    assert [str(error) for error in errors] == ["the connection is lost"] * 5
    assert len({id(error) for error in errors}) == 5
    assert asked.count(5) == 1
    assert await asyncio.to_thread(in_log) == ['"first"']


def a_coroutine_s() -> Publish:
    """Return a coroutine's publish; here its future needs no event loop."""
    return Publish([entry("late")], Future())  # type: ignore[arg-type]


def test_a_publish_that_has_time_left_does_not_fail_with_one_that_has_none(
    gate: Gate,
) -> None:
    in_time, late = Publish([entry("in time")]), a_coroutine_s()
    late.began_at -= group.ANSWER_SECONDS - group.COMMIT_SECONDS - 0.3
    attempts: list[None] = []

    def run(write: Callable[[], None]) -> None:
        attempts.append(None)
        if late.outcome is not None:
            gate.open()
        write()

    group.commit_group([late, in_time], run)
    assert isinstance(late.outcome, OperationalError)
    assert isinstance(in_time.outcome, list)
    assert len(attempts) == 2
    assert in_log() == ['"in time"']


def test_a_commit_that_fails_at_the_last_word_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_time, late = Publish([entry("in time")]), a_coroutine_s()
    attempts: list[None] = []

    def fail_late() -> None:
        attempts.append(None)
        late.began_at -= group.ANSWER_SECONDS
        raise OperationalError("the connection was lost at the COMMIT")

    monkeypatch.setattr(connection, "_commit", fail_late)
    group.commit_group([late, in_time], lambda write: write())
    for one in (late, in_time):
        assert "lost at the COMMIT" in str(one.outcome)
    assert len(attempts) == 1


def lead_and_be_interrupted(gate: Gate, in_thread: Call) -> tuple[Any, Any]:
    """Have a thread interrupted that commits another's publish, too."""
    first = in_thread(publish, "news", "first")
    wait_until(commit_is_under_way, "a commit under way")
    leading = in_thread(publish, "news", "leader's")
    wait_for_queue(1)
    other = in_thread(publish, "news", "other's")
    wait_for_queue(2)
    gate.open()
    first.result(PATIENCE_SECONDS)
    return leading, other


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_a_leader_that_is_stopped_takes_nobody_along(
    gate: Gate, appends: Any, in_thread: Call, interruption: type[BaseException]
) -> None:
    def interrupt(entries: Sequence[Entry]) -> None:
        if len(entries) == 2:
            raise interruption

    appends(interrupt)
    leading, other = lead_and_be_interrupted(gate, in_thread)
    with pytest.raises(interruption):
        leading.result(PATIENCE_SECONDS)
    assert numbers([other.result(PATIENCE_SECONDS)]) == [2]
    assert in_log() == ['"first"', '"other\'s"']
    assert commits.leader is None


def test_what_a_leader_was_committing_when_it_was_stopped_is_not_repeated(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, in_thread: Call
) -> None:
    succeed = group.succeed

    def interrupt(publishes: Sequence[Any], published: Sequence[Published]) -> None:
        if len(publishes) == 2:
            raise KeyboardInterrupt
        succeed(publishes, published)

    monkeypatch.setattr(group, "succeed", interrupt)
    leading, other = lead_and_be_interrupted(gate, in_thread)
    with pytest.raises(KeyboardInterrupt):
        leading.result(PATIENCE_SECONDS)
    with pytest.raises(Interrupted):
        other.result(PATIENCE_SECONDS)
    assert in_log() == ['"first"', '"leader\'s"', '"other\'s"']


def test_a_thread_that_stops_waiting_is_not_published(
    gate: Gate, in_thread: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if not self.is_set():
                raise KeyboardInterrupt
            return super().wait(timeout)

    first = in_thread(publish, "news", "first")
    wait_until(commit_is_under_way, "a commit under way")
    monkeypatch.setattr(
        group, "Publish", lambda entries: Publish(entries, turn=Interrupting())
    )
    with pytest.raises(KeyboardInterrupt):
        in_thread(publish, "news", "interrupted").result(PATIENCE_SECONDS)
    gate.open()
    first.result(PATIENCE_SECONDS)
    assert in_log() == ['"first"']
    assert commits.leader is None


async def test_a_doorbell_that_fails_is_no_publisher_s_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(events: Sequence[Event]) -> None:
        raise RuntimeError("no bell")

    monkeypatch.setattr(group.doorbell, "ring_events", fail)
    assert numbers([await apublish("news", 1)]) == [1]
    assert "nodes will find the events in the log" in caplog.text


# --- those who give up ----------------------------------------------------------------


async def test_a_cancelled_publish_that_waits_is_dropped(gate: Gate) -> None:
    first = asyncio.create_task(apublish("news", "first"))
    await under_way()
    kept, dropped = [asyncio.create_task(apublish("news", n)) for n in (1, 2)]
    await queued(2)
    dropped.cancel()
    await asyncio.wait([dropped])
    assert dropped.cancelled()
    gate.open()
    assert numbers([await first, await kept]) == [1, 2]
    assert await asyncio.to_thread(in_log) == ['"first"', "1"]


def test_an_event_loop_that_closes_holds_up_nobody(
    gate: Gate, in_thread: Call, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(apublish("news", "first"))
    loop.run_until_complete(under_way())
    loop.close()
    other = in_thread(publish, "news", "other")
    wait_for_queue(1)
    gate.open()
    assert numbers([other.result(PATIENCE_SECONDS)]) == [2]
    del task, loop
    gc.collect()
    assert "Task was destroyed but it is pending" in caplog.text
    assert database.publishing.waiting == 0


async def test_what_has_failed_does_not_happen_afterwards(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(group, "ANSWER_SECONDS", 2.0)
    calls = [asyncio.create_task(apublish("news", "first"))]
    await under_way()
    calls += [asyncio.create_task(apublish("news", number)) for number in range(5)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {OperationalError, Unanswered}
    gate.open()
    assert (await apublish("news", "after")).id.endswith("-1")


async def test_waiting_publishes_are_bounded(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MAX_WAITING_CALLS", 3)
    calls = [asyncio.create_task(apublish("news", 0))]
    await under_way()
    calls += [asyncio.create_task(apublish("news", number)) for number in (1, 2)]
    await queued(2)
    with pytest.raises(OperationalError, match="3 calls wait for the database"):
        await apublish("news", 3)
    gate.open()
    assert numbers(await asyncio.gather(*calls)) == [1, 2, 3]
    assert numbers([await apublish("news", 3)]) == [4]


def test_a_forked_process_does_not_wait_for_its_parent_s_leader(gate: Gate) -> None:
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish, "news", 1)
        wait_until(commit_is_under_way, "a commit under way")
        if not (child := os.fork()):
            os._exit(0 if commits.leader is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        gate.open()
        publishing.result(PATIENCE_SECONDS)
        pool.submit(lambda: connection.close()).result(PATIENCE_SECONDS)


# --- many at once ---------------------------------------------------------------------


async def test_each_caller_s_publishes_keep_their_order(in_thread: Call) -> None:
    def publish_in_turn(topic: str) -> list[int]:
        return numbers([publish(topic, number) for number in range(30)])

    async def apublish_in_turn(topic: str) -> list[int]:
        return numbers([await apublish(topic, number) for number in range(30)])

    callers = [
        *(asyncio.wrap_future(in_thread(publish_in_turn, f"t{n}")) for n in range(6)),
        *(apublish_in_turn(f"c{n}") for n in range(10)),
    ]
    results = await asyncio.gather(*callers)
    assert all(result == sorted(result) for result in results)
    everything = sorted(number for result in results for number in result)
    assert everything == list(range(1, 16 * 30 + 1))
    rows = await asyncio.to_thread(
        lambda: list(EventRow.objects.order_by("number").values_list())
    )
    latest: dict[str, int] = {}
    for number, topic, previous, data, *_ in rows:
        assert previous == latest.get(topic)
        assert int(data) == sum(row[1] == topic for row in rows if row[0] < number)
        latest[topic] = number
