"""The log: numbers without a gap, keys, where a reader begins, pages and retention."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from echo.feed import log, replay, retention
from echo.feed.access import Interest, Reader
from echo.feed.event import Event
from echo.feed.log import Entry
from echo.feed.recent import Recent
from echo.feed.replay import Expired
from echo.models import Event as EventRow
from echo.models import Log, Topic
from echo.protocol import EventId
from echo.tests.live import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])

NEWS = Interest(("news",))
ALL = Interest(("*",), Reader(is_staff=True))


def append(*topics: str, data: str = "1") -> list[Event]:
    return log.append([Entry(topic, data) for topic in topics])[0]


def numbers(interest: Interest, after: int = 0) -> list[int]:
    last = log.head().number
    return [event.number for event in replay.page(interest, after, last).events]


def age(seconds: float, **events: object) -> None:
    """Make the events, or all of them, that much older."""
    then = timezone.now() - timedelta(seconds=seconds)
    EventRow.objects.filter(**events).update(sent_at=then)


def recent(first: int, last: int) -> Recent:
    """Return the memory of a node that has fanned out these events."""
    remembered = Recent()
    for number in range(first, last + 1):
        remembered.append(*log.tail(number - 1, number))
    return remembered


def append_and_fail(*topics: str) -> None:
    """Append in a transaction that is rolled back."""
    with transaction.atomic():
        append(*topics)
        raise ZeroDivisionError


def in_threads(count: int, work: Callable[[int], object]) -> None:
    """Run the work in as many threads at once, each with its own connection."""

    def run(number: int) -> None:
        try:
            work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, range(count)))


# --- numbers --------------------------------------------------------------------------


def test_a_new_log_has_an_epoch_and_no_event() -> None:
    head = log.head()
    assert head.number == 0
    assert EventId.parse(str(head)) == head
    assert log.head() == head


def test_one_sequence_numbers_all_topics() -> None:
    assert [event.number for event in append("a", "b", "a")] == [1, 2, 3]
    assert [event.number for event in append("b")] == [4]
    assert log.head().number == 4


def test_every_event_names_the_one_before_it_on_its_topic() -> None:
    events = append("a", "b", "a") + append("b", "c", "a")
    assert [event.previous for event in events] == [None, None, 1, 2, None, 3]
    assert [row.previous for row in EventRow.objects.order_by("number")] == [
        event.previous for event in events
    ]


def test_a_rollback_gives_its_numbers_back() -> None:
    append("a")
    with pytest.raises(ZeroDivisionError):
        append_and_fail("a", "a")
    assert log.head().number == 1
    (event,) = append("a")
    assert (event.number, event.previous) == (2, 1)


def test_a_savepoint_that_is_rolled_back_gives_only_its_own_numbers_back() -> None:
    with transaction.atomic():
        append("a")
        with pytest.raises(ZeroDivisionError):
            append_and_fail("a", "b")
        (event,) = append("a")
    assert (event.number, event.previous) == (2, 1)
    assert numbers(ALL) == [1, 2]


def test_publishers_that_race_leave_no_gap_and_no_broken_chain() -> None:
    def publish(publisher: int) -> None:
        for turn in range(15):
            topics = ["shared", f"own.{publisher}"]
            with transaction.atomic():
                append(*topics[: 1 + turn % 2])
                transaction.set_rollback(turn % 5 == 4)

    in_threads(4, publish)
    rows = list(EventRow.objects.order_by("number"))
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == 4 * sum(1 + turn % 2 for turn in range(15) if turn % 5 != 4)
    latest: dict[str, int] = {}
    for row in rows:
        assert row.previous == latest.get(row.topic)
        latest[row.topic] = row.number


def test_a_number_is_seen_only_when_all_before_it_are() -> None:
    log.head()
    taken, seen = threading.Event(), threading.Event()

    def publish(publisher: int) -> None:
        if publisher == 0:
            with transaction.atomic():
                append("slow")
                taken.set()
                seen.wait(0.2)  # the other publisher has all this time to overtake
        else:
            taken.wait(PATIENCE_SECONDS)
            append("fast")
            seen.set()

    in_threads(2, publish)
    rows = EventRow.objects.order_by("number").values_list("topic", flat=True)
    assert list(rows) == ["slow", "fast"]


# --- keys -----------------------------------------------------------------------------


def test_a_key_used_before_brings_the_first_event_back() -> None:
    entry = Entry("a", "1", "k")
    ((first,), (receipt,)) = log.append([entry])
    events, (again,) = log.append([entry])
    assert (receipt.id, receipt.duplicate) == (str(first.id), False)
    assert (again.id, again.duplicate) == (str(first.id), True)
    assert events == []
    assert log.head().number == 1


def test_a_key_belongs_to_its_topic() -> None:
    log.append([Entry("a", "1", "k")])
    events, (receipt,) = log.append([Entry("b", "1", "k")])
    assert not receipt.duplicate
    assert [event.number for event in events] == [2]


def test_a_key_works_within_one_batch_and_leaves_no_gap() -> None:
    log.append([Entry("a", "0", "old")])
    entries = [
        Entry("a", "1", "k"),
        Entry("a", "2"),
        Entry("a", "3", "k"),
        Entry("a", "4", "old"),
        Entry("a", "5"),
    ]
    events, receipts = log.append(entries)
    assert [(event.number, event.data) for event in events] == [
        (2, "1"),
        (3, "2"),
        (4, "5"),
    ]
    assert [
        (EventId.parse(receipt.id).number, receipt.duplicate) for receipt in receipts
    ] == [
        (2, False),
        (3, False),
        (2, True),
        (1, True),
        (4, False),
    ]
    assert [event.number for event in append("a")] == [5]


def test_a_key_that_publishers_race_for_makes_one_event() -> None:
    log.head()
    receipts = []
    in_threads(
        4,
        lambda _: receipts.extend(
            log.append([Entry("a", "1", "k"), Entry("b", "2")])[1]
        ),
    )
    first = [receipt for receipt in receipts if EventId.parse(receipt.id).number == 1]
    assert sorted(receipt.duplicate for receipt in first) == [False, True, True, True]
    assert EventRow.objects.filter(topic="a").count() == 1
    assert numbers(ALL) == [1, 2, 3, 4, 5]


# --- where a reader begins ------------------------------------------------------------


def test_now_is_the_head_and_earliest_is_before_all_that_is_kept() -> None:
    append("news", "news")
    head = log.head()
    assert replay.start(NEWS, "now") == (head, None)
    assert replay.start(NEWS, "earliest") == (EventId(head.epoch, 0), None)


def test_an_id_of_this_log_is_where_its_reader_begins() -> None:
    append("news", "other", "news")
    asked = EventId(log.head().epoch, 2)
    assert replay.start(NEWS, str(asked)) == (asked, None)


def test_an_id_of_another_epoch_is_reset_to_the_head() -> None:
    append("news")
    cursor, notice = replay.start(NEWS, "00000000-1")
    assert cursor == log.head()
    assert notice is not None
    assert notice.fields == {
        "type": "reset",
        "reason": "epoch",
        "asked": "00000000-1",
        "last_event_id": str(log.head()),
    }


def test_an_id_after_the_head_is_reset_as_ahead() -> None:
    append("news")
    cursor, notice = replay.start(NEWS, f"{log.head().epoch}-2")
    assert cursor == log.head()
    assert notice is not None
    assert notice.fields["reason"] == "ahead"


def test_an_id_is_expired_only_when_something_after_it_is_gone(
    settings: Settings,
) -> None:
    settings.FEED_RETENTION_EVENTS = 2
    append("news", "news", "news", "news")
    retention.prune()  # 1 and 2 go
    epoch = log.head().epoch
    assert replay.start(NEWS, f"{epoch}-2") == (EventId(epoch, 2), None)
    notice = replay.start(NEWS, f"{epoch}-1")[1]
    assert notice is not None
    assert notice.fields["reason"] == "expired"


def test_a_busy_topic_s_pruning_never_resets_a_quiet_topic_s_readers(
    settings: Settings,
) -> None:
    settings.FEED_RETENTION_EVENTS = 3
    append("news")
    append(*["busy"] * 20)
    retention.prune()
    cursor = EventId(log.head().epoch, 0)
    assert replay.start(NEWS, str(cursor)) == (cursor, None)
    assert numbers(NEWS) == [1]
    assert replay.start(Interest(("news", "busy")), str(cursor))[1] is not None


def test_what_a_reader_may_not_read_never_resets_it(settings: Settings) -> None:
    settings.FEED_RETENTION_EVENTS = 1
    append(*["staff.ops"] * 5, "news")
    retention.prune()
    cursor = str(EventId(log.head().epoch, 1))
    assert replay.start(Interest(("*",)), cursor)[1] is None
    assert replay.start(ALL, cursor)[1] is not None


def test_earliest_is_never_expired(settings: Settings) -> None:
    settings.FEED_RETENTION_EVENTS = 2
    append("old", "news", "news", "news", "news")
    retention.prune()
    cursor, notice = replay.start(NEWS, "earliest")
    assert notice is None
    assert numbers(NEWS, cursor.number) == [4, 5]


# --- pages ----------------------------------------------------------------------------


def test_a_page_holds_what_is_wanted_in_order_and_says_how_far_it_goes() -> None:
    append("news", "other", "news.eu", "news", "Newsletter.x", "newsletter.x")
    wanted = Interest(("news", "news.*"))
    assert numbers(wanted) == [1, 3, 4]
    assert replay.page(wanted, 1, 3).reached == 3
    assert [event.number for event in replay.page(wanted, 1, 3).events] == [3]


def test_a_page_is_the_events_as_they_were_published() -> None:
    published = append("news", "news", data='{"a":"小王子"}')
    assert [e.json for e in replay.page(NEWS, 0, 2).events] == [
        e.json for e in published
    ]
    assert [event.json for event in log.tail(0, 2)] == [e.json for e in published]


def test_a_page_is_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PAGE_EVENTS", 3)
    append(*["news"] * 7)
    reached, pages = 0, []
    while reached < 7:
        page = replay.page(NEWS, reached, 7)
        pages.append([event.number for event in page.events])
        reached = page.reached
    assert pages == [[1, 2, 3], [4, 5, 6], [7]]


def test_a_page_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PAGE_BYTES", 1000)
    append(*["news"] * 3, data='"' + "x" * 240 + '"')
    for page in (replay.page(NEWS, 0, 3), recent(1, 3).page(NEWS, 0, 3)):
        assert [event.number for event in page.events] == [1, 2]
        assert page.reached == 2
    assert [event.number for event in log.tail(0, 3)] == [1, 2]


def test_a_page_has_one_event_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PAGE_BYTES", 10)
    append("news", "news")
    for page in (replay.page(NEWS, 0, 2), recent(1, 2).page(NEWS, 0, 2)):
        assert [event.number for event in page.events] == [1]
    assert [event.number for event in log.tail(0, 2)] == [1]


def test_a_page_of_what_may_not_be_read_moves_the_reader_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "PAGE_EVENTS", 2)
    append("staff.a", "staff.a", "staff.a", "news")
    page = replay.page(Interest(("*",)), 0, 4)
    assert (page.events, page.reached) == ([], 2)
    assert numbers(Interest(("*",)), 2) == [4]


def test_a_page_that_retention_has_overtaken_is_expired(
    settings: Settings,
) -> None:
    settings.FEED_RETENTION_EVENTS = 1
    append("news", "news", "news")
    retention.prune()
    assert numbers(NEWS, 2) == [3]
    with pytest.raises(Expired):
        replay.page(NEWS, 1, 3)


# --- retention ------------------------------------------------------------------------


def test_events_beyond_the_number_kept_go_oldest_first(
    settings: Settings,
) -> None:
    settings.FEED_RETENTION_EVENTS = 2
    append("a", "b", "a", "b", "a", "a")
    assert retention.prune() == 2
    assert numbers(ALL, 3) == [4, 5, 6]
    assert numbers(Interest(("b",))) == [2, 4]
    assert Topic.objects.get(name="a").pruned_number == 3
    assert retention.prune() == 0


def test_events_older_than_retention_go() -> None:
    append("a", "a", "b")
    age(24 * 3600 + 1, number=1)
    age(24 * 3600 - 60, number=2)
    assert retention.prune() == 1
    assert numbers(ALL, 1) == [2, 3]


def test_a_topic_s_own_retention_wins_over_the_site_s(
    settings: Settings,
) -> None:
    settings.FEED_RETENTION_EVENTS = 3
    append(*["short"] * 3, *["long"] * 5, *["plain"] * 4)
    Topic.objects.filter(name="short").update(retention_events=1)
    Topic.objects.filter(name="long").update(retention_events=100)
    retention.prune()
    kept = {topic.name: topic.kept for topic in Topic.objects.all()}
    assert kept == {"short": 1, "long": 5, "plain": 3}


def test_a_topic_s_own_age_wins_over_the_site_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "PRUNE_EVENTS", 4)
    append(*["long"] * 6, *["plain"] * 2, *["short"] * 2, "plain", "short")
    age(25 * 3600, topic="long")
    age(25 * 3600 - 5, number__in=[7, 8])
    age(100, number__in=[9, 10])
    Topic.objects.filter(name="long").update(retention_seconds=7 * 24 * 3600)
    Topic.objects.filter(name="short").update(retention_seconds=60)
    while retention.prune():
        pass
    kept = {topic.name: topic.kept for topic in Topic.objects.all()}
    assert kept == {"long": 6, "plain": 1, "short": 1}


def test_a_topic_that_keeps_nothing_keeps_nothing() -> None:
    append("a", "a")
    Topic.objects.update(retention_events=0)
    assert retention.prune() == 2
    assert retention.prune() == 0


def test_pruning_goes_a_little_at_a_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FEED_RETENTION_EVENTS = 1
    monkeypatch.setattr(retention, "PRUNE_EVENTS", 4)
    append(*["a"] * 6, *["b"] * 6)
    assert [retention.prune() for _ in range(4)] == [4, 4, 2, 0]
    assert [topic.kept for topic in Topic.objects.all()] == [1, 1]


def test_an_old_event_behind_a_young_one_takes_nothing_along(
    settings: Settings,
) -> None:
    append(*["a"] * 5)
    age(25 * 3600, number__in=[1, 3])
    assert retention.prune() == 1
    assert retention.prune() == 0
    topic = Topic.objects.get()
    assert (topic.kept, topic.pruned_number) == (4, 1)
    assert numbers(ALL, 1) == [2, 3, 4, 5]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock of publishers and of SQLite so many hours ahead, or behind."""
    real = timezone.now

    def turn(hours: float) -> None:
        def now() -> datetime:
            return real() + timedelta(hours=hours)

        monkeypatch.setattr(timezone, "now", now)

    return turn


Clock = Callable[[float], None]


def test_a_publisher_with_a_clock_behind_the_others_deletes_nothing(
    clock: Clock,
) -> None:
    append(*["a"] * 30)
    clock(-25)
    append("a", "new")
    clock(0)
    append(*["a"] * 30)
    assert retention.prune() == 0
    times = list(EventRow.objects.order_by("number").values_list("sent_at", flat=True))
    assert times == sorted(times)
    assert times[-1] - times[0] < timedelta(hours=1)


def test_a_publisher_with_a_clock_ahead_keeps_nothing_for_ever(clock: Clock) -> None:
    append("a")
    clock(24 * 365)
    append("a", "quiet")
    clock(0)
    assert retention.prune() == 0  # and sets the log's time right
    append("a", "b")
    now = timezone.now()
    late = EventRow.objects.filter(sent_at__gt=now + timedelta(hours=1))
    assert set(late.values_list("number", flat=True)) == {2, 3}
    clock(23)
    assert retention.prune() == 0
    clock(25)
    append("b")
    while retention.prune():
        pass
    assert numbers(ALL, 5) == [6]
    assert EventRow.objects.count() == 1


def test_a_node_with_a_clock_ahead_deletes_nothing(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    append("a")
    now = timezone.now()
    monkeypatch.setattr(retention, "database_now", lambda: now)
    clock(24 * 365)
    assert retention.prune() == 0
    clock(0)
    year = timedelta(days=365)
    monkeypatch.setattr(retention, "database_now", lambda: now + year)
    assert retention.prune() == 0
    assert numbers(ALL) == [1]


def test_many_old_events_behind_young_ones_hide_nothing_that_is_overdue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "PRUNE_TOPICS", 3)
    append("a", *["a"] * 10, "b")
    age(26 * 3600, topic="a", number__gt=1)
    age(25 * 3600, topic="b")
    assert retention.prune() == 1
    assert list(EventRow.objects.filter(topic="b")) == []


def test_a_pruned_topic_goes_on_with_its_chain(settings: Settings) -> None:
    settings.FEED_RETENTION_EVENTS = 0
    append("a", "a")
    retention.prune()
    (event,) = append("a")
    assert (event.number, event.previous) == (3, 2)


# --- lives of the log -----------------------------------------------------------------


def test_a_wiped_log_begins_again_under_another_epoch() -> None:
    append("a", "a")
    old = log.head()
    for model in (EventRow, Topic, Log):
        model.objects.all().delete()
    assert log.head().epoch != old.epoch
    assert log.head().number == 0
    assert [event.number for event in append("a")] == [1]


def test_a_lost_counter_goes_on_after_the_last_event() -> None:
    append("a", "a")
    Log.objects.all().delete()
    assert [event.number for event in append("a")] == [3]


def test_nodes_that_renew_the_epoch_together_renew_it_once() -> None:
    old = log.head()
    renewed = log.renew_epoch(old.epoch)
    assert renewed.epoch != old.epoch
    assert renewed.number == old.number
    assert log.renew_epoch(old.epoch) == renewed


# --- cost -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 100])
def test_a_batch_costs_the_same_few_queries_whatever_its_size(size: int) -> None:
    append("news")
    with CaptureQueriesContext(connection) as queries:
        append(*["news"] * size)
    assert len(queries) <= 6, [query["sql"] for query in queries]


def test_another_connection_s_commit_is_noticed_and_a_quiet_log_is_not() -> None:
    watch = log.CommitWatch()
    try:
        assert watch.is_cheap
        watch.changed()
        assert not watch.changed()
        append("news")
        assert watch.changed()
        assert not watch.changed()
    finally:
        watch.close()
