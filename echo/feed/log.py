"""The log: the only code that writes and reads events; knows no channel layer and no loop.

An event exists once its row is committed. One sequence numbers all topics without a gap:
the counter row stays locked until COMMIT, so readers see numbers in order, and a rollback
gives its numbers back.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Max, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from echo.feed.access import Interest
from echo.feed.event import Event, Notice, reset, wire_time
from echo.models import Event as EventRow
from echo.models import Log, Topic, new_epoch
from echo.protocol import EventId

PAGE_EVENTS = 500
PAGE_BYTES = 1024 * 1024
PRUNE_EVENTS = 500  # at most so many go in one transaction: publishers wait no longer


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that is about to be written; ``data`` is JSON text."""

    topic: str
    data: str
    key: str | None = None
    source: str = EventRow.Source.CODE
    author: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order. ``reached`` is the number up to which nothing is missing."""

    events: list[Event]
    reached: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """The id under which an entry is in the log; ``duplicate`` when it was there before."""

    id: EventId
    duplicate: bool


class Expired(Exception):
    """An event that this reader could have read has been pruned."""


# --- writing ---------------------------------------------------------------------------


def append(entries: Sequence[Entry]) -> tuple[list[Event], list[Receipt]]:
    """Writes entries within the caller's transaction, or one of its own.

    Returns the new events, and a receipt for each entry: one whose key was used before on
    its topic is not written again and has the first event's id.
    """
    with transaction.atomic():
        epoch, last = take_numbers(len(entries))
        number = last - len(entries)
        keyed = numbers_of_keys(entries)
        fresh: list[tuple[int, Entry]] = []
        receipts = []
        for entry in entries:
            place = entry.topic, entry.key
            duplicate = place in keyed
            if not duplicate:
                number += 1
                fresh.append((number, entry))
                if entry.key is not None:
                    keyed[place] = number
            receipts.append(
                Receipt(EventId(epoch, keyed.get(place, number)), duplicate)
            )
        if number < last:
            take_numbers(number - last)  # duplicates give their numbers back
        return write(epoch, fresh), receipts


def take_numbers(count: int) -> tuple[str, int]:
    """Locks the counter until COMMIT and adds to it; the epoch and the last number."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE echo_log SET last_number = last_number + %s "
            "RETURNING epoch, last_number",
            [count],
        )
        row = cursor.fetchone()
    if row is None:
        found_log()
        return take_numbers(count)
    return str(row[0]), int(row[1])


def found_log() -> None:
    """Makes the one row of a new or wiped log, under a new epoch."""
    last = EventRow.objects.aggregate(last=Max("number"))["last"] or 0
    Log.objects.get_or_create(pk=1, defaults={"last_number": last})


def numbers_of_keys(entries: Sequence[Entry]) -> dict[tuple[str, str | None], int]:
    """The numbers of the events that have these entries' topics and keys."""
    keys = [entry.key for entry in entries if entry.key is not None]
    if not keys:
        return {}
    rows = EventRow.objects.filter(
        key__in=keys, topic__in={entry.topic for entry in entries}
    )
    return {(t, k): n for t, k, n in rows.values_list("topic", "key", "number")}


def write(epoch: str, numbered: Sequence[tuple[int, Entry]]) -> list[Event]:
    """Inserts the rows, each naming the one before it on its topic, and moves the topics on."""
    now = timezone.now()
    sent_at = wire_time(now)
    names = {entry.topic for _, entry in numbered}
    known = Topic.objects.filter(name__in=names).values_list("name", "last_number")
    latest: dict[str, int | None] = dict(known)
    rows, events = [], []
    for number, entry in numbered:
        previous = latest.get(entry.topic)
        latest[entry.topic] = number
        events.append(
            Event(
                epoch, number, entry.topic, previous, sent_at, entry.data, entry.source
            )
        )
        rows.append(
            EventRow(
                number=number,
                topic=entry.topic,
                previous=previous,
                data=entry.data,
                sent_at=now,
                key=entry.key,
                source=entry.source,
                author=entry.author,
            )
        )
    EventRow.objects.bulk_create(rows)
    advance_topics(Counter(entry.topic for _, entry in numbered), latest)
    return events


def advance_topics(added: Counter[str], latest: Mapping[str, int | None]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO echo_topic (name, last_number, pruned_number, kept) "
            "VALUES (%s, %s, 0, %s) ON CONFLICT (name) DO UPDATE SET "
            "last_number = excluded.last_number, kept = echo_topic.kept + excluded.kept",
            [(name, latest[name], count) for name, count in sorted(added.items())],
        )


def renew_epoch(old: str) -> EventId:
    """Begins a new life of the log, once for all nodes that ask to end the old one."""
    Log.objects.filter(epoch=old).update(epoch=new_epoch())
    return head()


def renew_log() -> EventId:
    """Begins a new life of the log, for an operator who has restored a backup of it."""
    return renew_epoch(head().epoch)


# --- reading ---------------------------------------------------------------------------


def head() -> EventId:
    """The id of the last event, with number 0 when there is none yet."""
    row = Log.objects.values_list("epoch", "last_number").first()
    if row is None:
        found_log()
        return head()
    return EventId(*row)


def oldest(interest: Interest) -> int:
    """The number before the oldest kept event that this interest could be told of.

    A reader that starts there has all that is kept, and is never told ``expired`` at once.
    """
    first = EventRow.objects.order_by("number").values_list("number", flat=True).first()
    before = first - 1 if first is not None else head().number
    return max(before, pruned(interest))


def pruned(interest: Interest) -> int:
    """The highest number pruned from what this interest may read; 0 for none."""
    rows = Topic.objects.filter(interest.query("name"), pruned_number__gt=0)
    numbers = rows.values_list("name", "pruned_number")
    return max((n for name, n in numbers if interest.matches(name)), default=0)


def page(interest: Interest, after: int, up_to: int) -> Page:
    """What an interest is told of between two numbers (after < number <= up_to).

    Raises Expired when retention has overtaken ``after``. Judged after the rows are read:
    what is pruned in between is then seen as pruned, never skipped.
    """
    rows = EventRow.objects.filter(
        interest.query("topic"), number__gt=after, number__lte=up_to
    ).order_by("number")
    found, whole = bounded(rows)
    epoch = head().epoch
    if pruned(interest) > after:
        raise Expired
    events = [
        Event(epoch, number, topic, previous, wire_time(sent_at), data, source)
        for number, topic, previous, sent_at, data, source in found
        if interest.matches(topic)
    ]
    return Page(events, up_to if whole else found[-1][0])


def tail(after: int, up_to: int) -> list[Event]:
    """The events of all topics between two numbers, a page of them, for the relay."""
    rows = EventRow.objects.filter(number__gt=after, number__lte=up_to).order_by(
        "number"
    )
    epoch = head().epoch
    return [
        Event(epoch, number, topic, previous, wire_time(sent_at), data, source)
        for number, topic, previous, sent_at, data, source in bounded(rows)[0]
    ]


def bounded(rows: QuerySet[EventRow]) -> tuple[list[Any], bool]:
    """The first rows, a page of them in number and in bytes; True when that is all."""
    columns = rows.values_list(
        "number", "topic", "previous", "sent_at", "data", "source"
    )
    found: list[Any] = []
    size = 0
    for row in columns[: PAGE_EVENTS + 1].iterator(chunk_size=100):
        if len(found) == PAGE_EVENTS or size > PAGE_BYTES:
            return found, False
        found.append(row)
        size += len(row[4])
    return found, True


def start(interest: Interest, since: str) -> tuple[EventId, Notice | None]:
    """Judges where a reader begins: the cursor, and the ``reset`` it must be told first."""
    last = head()
    if since == "now":
        return last, None
    if since == "earliest":
        return EventId(last.epoch, oldest(interest)), None
    asked = EventId.parse(since)
    if asked.epoch != last.epoch:
        return last, reset("epoch", asked, last)
    if asked.number > last.number:
        return last, reset("ahead", asked, last)
    if pruned(interest) > asked.number:
        return last, reset("expired", asked, last)
    return asked, None


# --- retention -------------------------------------------------------------------------


def prune(now: datetime | None = None) -> int:
    """Deletes a little of what retention no longer keeps; how many events went."""
    moment = now or timezone.now()
    gone = 0
    for name in overdue_topics(moment):
        gone += prune_topic(name, moment, PRUNE_EVENTS - gone)
        if gone >= PRUNE_EVENTS:
            break
    return gone


def overdue_topics(now: datetime) -> list[str]:
    """Topics that hold more events, or older ones, than retention keeps."""
    limit = Coalesce(F("retention_events"), settings.FEED_RETENTION_EVENTS)
    crowded = Topic.objects.filter(kept__gt=limit).values_list("name", flat=True)[:50]
    # Apart from the others: their many events would hide each other's overdue ones.
    special = Topic.objects.filter(retention_seconds__isnull=False)
    horizon = now - timedelta(seconds=settings.FEED_RETENTION_SECONDS)
    aged = (
        EventRow.objects.filter(sent_at__lt=horizon)
        .exclude(topic__in=special.values("name"))
        .order_by("sent_at")
        .values_list("topic", flat=True)[:PRUNE_EVENTS]
    )
    aged_specially = [
        topic.name
        for topic in special
        if EventRow.objects.filter(
            topic=topic.name, sent_at__lt=now - timedelta(seconds=retention(topic)[0])
        ).exists()
    ]
    return list(dict.fromkeys([*crowded, *aged_specially, *aged]))


def prune_topic(name: str, now: datetime, limit: int) -> int:
    """Deletes at most ``limit`` of a topic's events, oldest first, and remembers how far."""
    with transaction.atomic():
        topic = Topic.objects.select_for_update().get(name=name)
        keep_seconds, keep_events = retention(topic)
        excess = max(0, topic.kept - keep_events)
        horizon = now - timedelta(seconds=keep_seconds)
        rows = EventRow.objects.filter(topic=name).order_by("number")[:limit]
        numbers = [
            number
            for index, (number, sent_at) in enumerate(
                rows.values_list("number", "sent_at")
            )
            if index < excess or sent_at < horizon
        ]
        if numbers:
            # Clocks differ: a younger event between them goes along, and counts.
            gone = EventRow.objects.filter(topic=name, number__lte=numbers[-1]).delete()
            topic.pruned_number = numbers[-1]
            topic.kept -= gone[0]
            topic.save(update_fields=["pruned_number", "kept"])
    return len(numbers)


def retention(topic: Topic) -> tuple[int, int]:
    """How many seconds old a topic's events may be, and how many."""
    seconds, events = topic.retention_seconds, topic.retention_events
    return (
        settings.FEED_RETENTION_SECONDS if seconds is None else seconds,
        settings.FEED_RETENTION_EVENTS if events is None else events,
    )


class CommitWatch:
    """Tells for about 3 µs whether anybody else has committed; SQLite only.

    ``PRAGMA data_version`` changes when another connection commits, so it needs one of its
    own. ``cheap`` is False on other databases, where the head must be asked for instead.
    """

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None
        name = str(connection.settings_dict["NAME"])
        if connection.vendor == "sqlite" and "memory" not in name:
            self.connection = sqlite3.connect(
                f"file:{quote(name)}?mode=ro", uri=True, check_same_thread=False
            )
        self.version = 0

    @property
    def cheap(self) -> bool:
        return self.connection is not None

    def changed(self) -> bool:
        """True when something was committed since the last look; False where it cannot tell."""
        if self.connection is None:
            return False
        before = self.version
        self.version = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return self.version != before

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
