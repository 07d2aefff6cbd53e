"""Deletes what the log no longer keeps, a little at a time, on every node in turn.

Each topic remembers how far it has been pruned, and so does the log for topics that are
deleted: a reader who missed something is reset, never passed over in silence.
"""

import asyncio
import random
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, OuterRef, Q, Subquery
from django.utils import timezone

from echo.feed import threads
from echo.feed.log import DELETED_NUMBER, database_now
from echo.models import OWN_RETENTION, Log, Topic
from echo.models import Event as EventRow

PRUNE_EVENTS = 500  # at most so many go in one transaction: publishers wait no longer
PRUNE_TOPICS = 500
CROWDED_TOPICS = 50
# Between two prunings that found nothing, and between two that found something.
PRUNE_SECONDS = 2.0
PRUNE_AGAIN_SECONDS = 0.05
# So many empty topics are kept, the last to become empty: each knows exactly how far it
# was pruned, and resets only the readers who missed something.
KEPT_EMPTY_TOPICS = 1000
# An event later than this after the present comes from a clock that was wrong.
FUTURE_SECONDS = 60
# Has no event any more, and no operator has given it a retention.
EMPTY = Q(kept=0, pruned_number__gte=F("last_number")) & ~OWN_RETENTION


async def keep_retention() -> None:
    """Prune now and then; soon again while there is more to prune."""
    while True:
        gone = await prune_in_thread()
        # A random pause: all nodes prune, and would do it at the same moment.
        pause = PRUNE_SECONDS * random.uniform(0.5, 1.5)
        await asyncio.sleep(PRUNE_AGAIN_SECONDS if gone else pause)


def prune(now: datetime | None = None) -> int:
    """Delete a little of what retention no longer keeps; return how many events went."""
    moment = now or present()
    correct_clock(moment)
    gone = 0
    for name in overdue_topics(moment):
        gone += prune_topic(name, moment, PRUNE_EVENTS - gone)
        if gone >= PRUNE_EVENTS:
            break
    delete_empty_topics()
    return gone


prune_in_thread = threads.upkeep.wrap(prune)


def present() -> datetime:
    """Return the time that events are aged by: the earlier of the database's and this node's.

    A clock that is far ahead would delete everything; one that is behind deletes nothing
    while it is, and the other nodes go on.
    """
    return min(database_now(), timezone.now())


def correct_clock(now: datetime) -> None:
    """Let events have the present time again after a clock was ahead for a while."""
    ahead = Log.objects.filter(last_sent_at__gt=now + timedelta(seconds=FUTURE_SECONDS))
    if ahead.exists():
        ahead.update(last_sent_at=now)


# --- which topics ----------------------------------------------------------------------


def retention_of(topic: Topic) -> tuple[int, int]:
    """Return how many seconds old a topic's events may be, and how many it may have."""
    seconds, events = topic.retention_seconds, topic.retention_events
    return (
        settings.FEED_RETENTION_SECONDS if seconds is None else seconds,
        settings.FEED_RETENTION_EVENTS if events is None else events,
    )


def overdue_topics(now: datetime) -> list[str]:
    """Return topics that hold more events, or older ones, than retention keeps."""
    special = list(Topic.objects.filter(OWN_RETENTION))
    names = [topic.name for topic in special]
    plain = Topic.objects.filter(kept__gt=settings.FEED_RETENTION_EVENTS)
    crowded = plain.exclude(name__in=names).order_by("-kept")  # as their index is
    overdue = [topic.name for topic in special if is_overdue(topic, now)]
    horizon = now - timedelta(seconds=settings.FEED_RETENTION_SECONDS)
    return list(
        dict.fromkeys(
            [
                *crowded.values_list("name", flat=True)[:CROWDED_TOPICS],
                *overdue,
                *future(now),
                *aged(horizon, names),
            ]
        )
    )


def is_overdue(topic: Topic, now: datetime) -> bool:
    """Return True for a topic that has more, or older, than its own retention keeps."""
    keep_seconds, keep_events = retention_of(topic)
    horizon = now - timedelta(seconds=keep_seconds)
    rows = EventRow.objects.filter(topic=topic.name).order_by("number")
    first = rows.values_list("sent_at", flat=True).first()
    return topic.kept > keep_events or (first is not None and first < horizon)


def aged(horizon: datetime, special: list[str]) -> list[str]:
    """Return topics whose first event is too old; ``special`` ones are judged by themselves.

    An old event behind a younger one waits for it: a clock was wrong when it was sent.
    """
    of_topic = EventRow.objects.filter(topic=OuterRef("topic")).order_by("number")
    first = EventRow.objects.filter(
        sent_at__lt=horizon, number=Subquery(of_topic.values("number")[:1])
    )
    plain = first.exclude(topic__in=special).order_by("sent_at")
    return list(plain.values_list("topic", flat=True)[:PRUNE_TOPICS])


def future(now: datetime) -> list[str]:
    """Return topics that hold events from the future: as old as those that came later."""
    rows = EventRow.objects.filter(sent_at__gt=now + timedelta(seconds=FUTURE_SECONDS))
    topics = rows.order_by("sent_at").values_list("topic", flat=True)
    return list(dict.fromkeys(topics[:PRUNE_TOPICS]))


# --- one topic -------------------------------------------------------------------------


def prune_topic(name: str, now: datetime, limit: int) -> int:
    """Delete at most ``limit`` of a topic's events and remember how far.

    Only what comes before all that is kept: too many, or too old from the first on.
    """
    with transaction.atomic():
        topic = Topic.objects.select_for_update().filter(name=name).first()
        if topic is None:
            return 0
        keep_seconds, keep_events = retention_of(topic)
        excess = max(0, topic.kept - keep_events)
        horizon = now - timedelta(seconds=keep_seconds)
        rows = EventRow.objects.filter(topic=name).order_by("number")[:limit]
        last = None
        for index, (number, sent_at) in enumerate(
            rows.values_list("number", "sent_at")
        ):
            if index >= excess and not is_old(number, sent_at, horizon, now):
                break
            last = number
        if last is None:
            return 0
        gone, _ = EventRow.objects.filter(topic=name, number__lte=last).delete()
        topic.pruned_number = last
        topic.kept -= gone
        topic.save(update_fields=["pruned_number", "kept"])
    return gone


def is_old(number: int, sent_at: datetime, horizon: datetime, now: datetime) -> bool:
    """Return True for an event from before the horizon.

    One from the future was stamped by a clock that was ahead: it is at least as old as any
    that came after it.
    """
    if sent_at <= now + timedelta(seconds=FUTURE_SECONDS):
        return sent_at < horizon
    later = EventRow.objects.filter(number__gt=number, sent_at__lt=horizon)
    return later.exists()


# --- topics that are empty -------------------------------------------------------------


def delete_empty_topics() -> int:
    """Delete the topics that have been empty for longest; return how many."""
    empty = Topic.objects.filter(EMPTY).order_by("-pruned_number")
    names = empty.values_list("name", flat=True)
    if not (found := list(names[KEPT_EMPTY_TOPICS : KEPT_EMPTY_TOPICS + PRUNE_TOPICS])):
        return 0
    with transaction.atomic():
        # Publishers hold the log's row: none of these topics can begin again meanwhile.
        log = Log.objects.select_for_update().first()
        topics = list(Topic.objects.select_for_update().filter(EMPTY, name__in=found))
        if log is None:
            return 0
        for topic in topics:
            column = DELETED_NUMBER[Topic.Scope.of(topic.name)]
            setattr(log, column, max(getattr(log, column), topic.pruned_number))
        log.save(update_fields=list(DELETED_NUMBER.values()))
        Topic.objects.filter(name__in=[topic.name for topic in topics]).delete()
    return len(topics)
