"""The log: the only code that writes and reads events; knows no channel layer and no loop.

An event exists once its row is committed. One sequence numbers all topics without a gap:
the counter row stays locked until COMMIT, so readers see numbers in order, and a rollback
gives its numbers back.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any
from urllib.parse import quote

from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from echo.feed.event import Event, wire_time
from echo.models import Event as EventRow
from echo.models import Log, Topic, new_epoch
from echo.protocol import EventId

# A page of events, wherever it is read from: what a reader who takes nothing may hold.
PAGE_EVENTS = 500
PAGE_BYTES = 128 * 1024
# What an event's frame has beside its data, at most.
FRAME_BYTES = 250
# Rows that are read at first: each may be MAX_DATA_BYTES long, and the page full.
FIRST_ROWS = 25


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that is about to be written; ``data`` is JSON text."""

    topic: str
    data: str
    key: str | None = None
    source: str = EventRow.Source.CODE
    author: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A committed event's id; ``duplicate`` when its key had been used before."""

    id: str
    duplicate: bool = False

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the log's counter gave: the numbers up to ``last``, locked until COMMIT.

    ``sent_at`` is the database's time, and never before an earlier event's. ``deleted``
    has the highest number pruned from topics that have been deleted, by their scope.
    """

    epoch: str
    last: int
    sent_at: datetime
    deleted: Mapping[Topic.Scope, int]


# --- writing ---------------------------------------------------------------------------


def append(entries: Sequence[Entry]) -> tuple[list[Event], list[Published]]:
    """Write entries within the caller's transaction, or one of its own.

    Return the new events, and the id of each entry's event: an entry whose key was used
    before on its topic is not written again and has the first event's id.
    """
    with transaction.atomic(savepoint=False), in_few_trips():
        # All sent before any is fetched: see in_few_trips.
        numbers = take_numbers(len(entries))
        keys = find_keys(entries)
        topics = find_topics(entries)
        if (taken := numbers()) is None:
            found_log()
            return append(entries)
        number = taken.last - len(entries)
        keyed = keys()
        fresh: list[tuple[int, Entry]] = []
        published = []
        for entry in entries:
            place = entry.topic, entry.key
            duplicate = place in keyed
            if not duplicate:
                number += 1
                fresh.append((number, entry))
                if entry.key is not None:
                    keyed[place] = number
            event_id = EventId(taken.epoch, keyed.get(place, number))
            published.append(Published(str(event_id), duplicate))
        if number < taken.last:
            take_numbers(number - taken.last)()  # duplicates give their numbers back
        return write(taken, fresh, topics()), published


@contextmanager
def in_few_trips() -> Iterator[None]:
    """Send the block's statements without waiting for each one's result.

    On PostgreSQL (libpq's pipeline mode) the counter stays locked for fewer trips to the
    server and back: publishers of other processes wait for it. SQLite is in this process.
    Within a transaction only: neither COMMIT nor ROLLBACK goes well with a failed pipeline.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def send(statement: str, parameters: Iterable[Any]) -> Callable[[], list[Any]]:
    """Send a statement, and return the function that waits for its rows."""
    cursor = connection.cursor()
    cursor.execute(statement, list(parameters))

    def fetch() -> list[Any]:
        with cursor:
            return cursor.fetchall()

    return fetch


def take_numbers(count: int) -> Callable[[], Numbers | None]:
    """Lock the counter until COMMIT and add to it; also take the time.

    The time is the database's own: publishers' clocks differ, and retention goes by it. It
    never goes back, whatever a clock does. There is no row in a new log.
    """
    clock, parameters = database_clock()
    latest = "GREATEST" if connection.vendor == "postgresql" else "MAX"
    fetch = send(
        "UPDATE echo_log SET last_number = last_number + %s, last_sent_at = "
        f"{latest}(COALESCE(last_sent_at, {clock}), {clock}) "
        "RETURNING epoch, last_number, last_sent_at, "
        + ", ".join(DELETED_NUMBER.values()),
        [count, *parameters, *parameters],
    )

    def numbers() -> Numbers | None:
        if not (rows := fetch()):
            return None
        epoch, last, sent_at, *deleted = rows[0]
        by_scope = dict(zip(DELETED_NUMBER, deleted, strict=True))
        return Numbers(epoch, last, aware(sent_at), by_scope)

    return numbers


# The column of the log's row that has the highest number pruned from deleted topics.
DELETED_NUMBER = {
    Topic.Scope.PUBLIC: "deleted_public_number",
    Topic.Scope.STAFF: "deleted_staff_number",
    Topic.Scope.USER: "deleted_user_number",
}


def database_clock() -> tuple[str, list[Any]]:
    """Return an SQL expression for the present time, and its parameters."""
    if connection.vendor == "postgresql":
        return "clock_timestamp()", []
    # SQLite runs in this process: the clocks are the same, but its own has no microseconds.
    return "%s", [connection.ops.adapt_datetimefield_value(timezone.now())]


def database_now() -> datetime:
    """Return the database's time."""
    clock, parameters = database_clock()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {clock}", parameters)
        return aware(cursor.fetchone()[0])


def aware(moment: datetime | str) -> datetime:
    """Return a time that plain SQL gave: SQLite's has no time zone, and is text at times."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def found_log() -> None:
    """Insert the one row of a new or wiped log, under a new epoch; no-op if it is there."""
    last = EventRow.objects.aggregate(last=Max("number"))["last"] or 0
    # Not by an attempt that may fail: that would be the end of what is sent with it.
    Log.objects.bulk_create([Log(pk=1, last_number=last)], ignore_conflicts=True)


def find_keys(
    entries: Sequence[Entry],
) -> Callable[[], dict[tuple[str, str | None], int]]:
    """Ask for the numbers of the events that have these entries' topics and keys."""
    keys = {entry.key for entry in entries if entry.key is not None}
    if not keys:
        return dict
    topics = {entry.topic for entry in entries if entry.key is not None}
    fetch = send(
        "SELECT topic, key, number FROM echo_event "
        f"WHERE topic IN ({marks(topics)}) AND key IN ({marks(keys)})",
        [*topics, *keys],
    )
    return lambda: {(topic, key): number for topic, key, number in fetch()}


def find_topics(entries: Sequence[Entry]) -> Callable[[], dict[str, int | None]]:
    """Ask for the number of each topic's last event; new topics are not there."""
    topics = {entry.topic for entry in entries}
    fetch = send(
        f"SELECT name, last_number FROM echo_topic WHERE name IN ({marks(topics)})",
        topics,
    )
    return lambda: dict(fetch())


def marks(values: Sized) -> str:
    """Return a parameter's mark for each value."""
    return ", ".join(["%s"] * len(values))


def write(
    taken: Numbers,
    numbered: Sequence[tuple[int, Entry]],
    latest: dict[str, int | None],
) -> list[Event]:
    """Insert the rows, each naming the one before it on its topic; move the topics on."""
    if not numbered:
        return []
    sent_at = wire_time(taken.sent_at)
    added = Counter(entry.topic for _, entry in numbered)
    events = []
    for number, entry in numbered:
        topic, previous = entry.topic, latest.get(entry.topic)
        latest[topic] = number
        events.append(
            Event(
                taken.epoch, number, topic, previous, sent_at, entry.data, entry.source
            )
        )
    insert(taken.sent_at, events, [entry for _, entry in numbered])
    advance_topics(added, latest, taken.deleted)
    return events


def insert(
    sent_at: datetime, events: Sequence[Event], entries: Sequence[Entry]
) -> None:
    """Insert events as rows, with what only their entries have.

    Plain SQL: a model's instance and ``bulk_create`` take longer than all the rest.
    """
    moment = connection.ops.adapt_datetimefield_value(sent_at)
    rows = [
        (event.number, event.topic, event.previous, event.data, moment)
        + (entry.key, entry.source, entry.author)
        for event, entry in zip(events, entries, strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO echo_event "
            "(number, topic, previous, data, sent_at, key, source, author) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )


def advance_topics(
    added: Counter[str],
    latest: Mapping[str, int | None],
    deleted: Mapping[Topic.Scope, int],
) -> None:
    """Move the topics on to their last numbers.

    A new topic may be one that was deleted: it begins with the highest number pruned from
    those, so that a reader who missed its earlier events is reset.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO echo_topic (name, last_number, pruned_number, kept) "
            "VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET "
            "last_number = excluded.last_number, kept = echo_topic.kept + excluded.kept",
            [
                (name, latest[name], deleted[Topic.Scope.of(name)], count)
                for name, count in sorted(added.items())
            ],
        )


def renew_epoch(old: str) -> EventId:
    """Begin a new life of the log; no-op when another node has ended the old one."""
    Log.objects.filter(epoch=old).update(epoch=new_epoch())
    return head()


def renew_log() -> EventId:
    """Begin a new life of the log, for an operator who has restored a backup of it."""
    return renew_epoch(head().epoch)


# --- reading ---------------------------------------------------------------------------


def head() -> EventId:
    """Return the id of the last event, with number 0 when there is none yet."""
    row = Log.objects.values_list("epoch", "last_number").first()
    if row is None:
        found_log()
        return head()
    return EventId(*row)


def tail(after: int, up_to: int) -> list[Event]:
    """Return the events of all topics between two numbers, one page, for the relay."""
    found, _ = fill_page(rows_between(after, up_to))
    return found


COLUMNS = ("number", "topic", "previous", "sent_at", "data", "source")


def rows_between(after: int, up_to: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows between two numbers (after < number <= up_to), a few at a time."""
    for size in at_once():
        rows = EventRow.objects.filter(number__gt=after, number__lte=up_to)
        some = list(rows.order_by("number").values_list(*COLUMNS)[:size])
        yield from some
        if len(some) < size:
            return
        after = some[-1][0]


def rows_of(numbers: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that have these numbers, a few at a time."""
    left = iter(numbers)
    for size in at_once():
        if not (some := list(islice(left, size))):
            return
        rows = EventRow.objects.filter(number__in=some).order_by("number")
        yield from rows.values_list(*COLUMNS)


def at_once() -> Iterator[int]:
    """Yield how many rows to read next: more and more, while they do not fill the page."""
    return (FIRST_ROWS << turn for turn in count())


def fill_page(rows: Iterable[tuple[Any, ...]]) -> tuple[list[Event], bool]:
    """Return the first events, a page of them, at least one; True when that is all."""
    found: list[tuple[Any, ...]] = []
    size = 0
    is_all = True
    for row in rows:
        size += FRAME_BYTES + len(row[4].encode())
        if found and (len(found) >= PAGE_EVENTS or size > PAGE_BYTES):
            is_all = False
            break
        found.append(row)
    epoch = head().epoch if found else ""  # after the rows: see Relay.fan_out_page
    events = [
        Event(epoch, number, topic, previous, wire_time(sent_at), data, source)
        for number, topic, previous, sent_at, data, source in found
    ]
    return events, is_all


class CommitWatch:
    """Notices in about 3 µs that another connection has committed; SQLite only.

    ``PRAGMA data_version`` changes when another connection commits, so it needs one of its
    own. On other databases the head must be read instead.
    """

    def __init__(self) -> None:
        # None where the database is not a SQLite file.
        self.connection: sqlite3.Connection | None = None
        name = str(connection.settings_dict["NAME"])
        if connection.vendor == "sqlite" and "memory" not in name:
            self.connection = sqlite3.connect(
                f"file:{quote(name)}?mode=ro", uri=True, check_same_thread=False
            )
        # The data_version of the last look.
        self.version = 0

    @property
    def is_cheap(self) -> bool:
        """Return True where looks are so cheap that they may be frequent."""
        return self.connection is not None

    def changed(self) -> bool:
        """Return True when something was committed since the last look, as far as is known."""
        before, self.version = self.version, self.read_version()
        return self.version != before

    def read_version(self) -> int:
        """Return a number that is another after each commit; 0 where it cannot be had."""
        if self.connection is None:
            return 0
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
