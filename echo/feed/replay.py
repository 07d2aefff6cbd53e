"""Reads from the database where a reader begins, and the pages of what it missed.

Knows no event loop. Every query costs what it returns, or a bounded window of the log,
however many topics and events there are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import F, Max, Q

from echo.feed import log
from echo.feed.access import Interest, Reader
from echo.feed.event import Event, Notice, reset
from echo.models import Event as EventRow
from echo.models import Log, Topic
from echo.protocol import EventId

# More topics than this are not asked for one by one: the log is read through instead,
# so many events of any topic at a time.
MAX_TOPICS_ASKED = 100
SCANNED_EVENTS = 5000


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order, and how far they reach."""

    events: list[Event]
    # The number up to which nothing is missing: further than the last event where what
    # follows it is not for this reader.
    reached: int


class Expired(Exception):
    """An event that this reader could have read has been pruned."""


# --- where a reader begins -------------------------------------------------------------


def start(interest: Interest, since: str) -> tuple[EventId, Notice | None]:
    """Return the cursor a reader begins at, and the ``reset`` that it must have first."""
    last = log.head()
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


def oldest(interest: Interest) -> int:
    """Return the number before the oldest kept event that this interest could be given.

    A reader that starts there is never ``expired`` at once.
    """
    first = EventRow.objects.order_by("number").values_list("number", flat=True).first()
    before = first - 1 if first is not None else log.head().number
    return max(before, pruned(interest))


def pruned(interest: Interest) -> int:
    """Return the highest number pruned from what this interest may read; 0 for none.

    For topics that have been deleted it is their common mark, which may be higher than a
    topic's own: so it counts only for patterns, and for topics that do not exist. The
    topics come first: one that is deleted meanwhile is then in the mark.
    """
    exact = Topic.objects.filter(name__in=interest.exact).order_by()
    numbers = dict(exact.values_list("name", "pruned_number"))
    highest = max(
        [*numbers.values(), *map(pruned_below, prefixes(interest))], default=0
    )
    if "*" in interest.patterns:
        topics = Topic.objects.filter(readable_names(interest.reader))
        by_number = topics.order_by("-pruned_number")
        highest = by_number.values_list("pruned_number", flat=True).first() or 0
    return max(highest, deleted(interest, numbers.keys()))


def pruned_below(prefix: str) -> int:
    """Return the highest number pruned from topics that begin with a prefix."""
    # Plus 0: the index on names is to serve, not the one on pruned numbers.
    highest = Max(F("pruned_number") + 0)
    found = Topic.objects.filter(below(prefix)).aggregate(highest=highest)
    return found["highest"] or 0


def deleted(interest: Interest, existing: Iterable[str]) -> int:
    """Return the highest number pruned from deleted topics that it could have read."""
    unknown = [p for p in interest.patterns if p not in existing]
    columns = {
        log.DELETED_NUMBER[scope]
        for pattern in unknown
        for scope in scopes(pattern, interest.reader)
    }
    if not columns:
        return 0
    row = Log.objects.values_list(*columns).first()
    return max(row) if row else 0


def scopes(pattern: str, reader: Reader) -> list[Topic.Scope]:
    """Return the scopes of the topics that a pattern brings this reader."""
    if pattern != "*":
        return [Topic.Scope.of(pattern)]
    found = [Topic.Scope.PUBLIC]
    if reader.is_staff:
        found.append(Topic.Scope.STAFF)
    if reader.user_id is not None:
        found.append(Topic.Scope.USER)
    return found


# --- which topics ----------------------------------------------------------------------


def prefixes(interest: Interest) -> list[str]:
    """Return what the names begin with that the interest's prefix patterns match."""
    return [pattern[:-1] for pattern in interest.patterns if pattern.endswith(".*")]


def readable_names(reader: Reader) -> Q:
    """Return a filter for the names of the topics that ``Reader.may_read`` allows."""
    readable = Q()
    if not reader.is_staff:
        readable &= ~(Q(name="staff") | below("staff."))
    own = f"user.{reader.user_id}"
    users = Q(name="user") | below("user.")
    if reader.user_id is None:
        return readable & ~users
    return readable & (~users | Q(name=own) | below(f"{own}."))


def below(prefix: str) -> Q:
    """Return a filter for the names that begin with a prefix which ends with a dot.

    Such as the index on names serves: PostgreSQL has one for LIKE, whatever its collation.
    SQLite's LIKE knows no case and uses none, but its order is that of the bytes.
    """
    if connection.vendor == "postgresql":
        return Q(name__startswith=prefix)
    after = prefix[:-1] + chr(ord(".") + 1)
    return Q(name__gte=prefix, name__lt=after)


def names_with_news(interest: Interest, after: int) -> list[str] | None:
    """Return the topics that may have an event after a number; None for too many."""
    if "*" in interest.patterns:
        return None
    names = set(interest.exact)
    for prefix in prefixes(interest):
        topics = Topic.objects.filter(below(prefix), last_number__gt=after).order_by()
        names.update(topics.values_list("name", flat=True)[: MAX_TOPICS_ASKED + 1])
        if len(names) > MAX_TOPICS_ASKED:
            return None
    return sorted(names)


# --- pages -----------------------------------------------------------------------------


def page(interest: Interest, after: int, up_to: int) -> Page:
    """Return what an interest is given between two numbers (after < number <= up_to).

    Raises Expired when retention has overtaken ``after``. Judged after the rows are read:
    what is pruned in between is then seen as pruned, never skipped.
    """
    numbers, reached = find(interest, after, up_to)
    events, is_all = log.fill_page(log.rows_of(numbers))
    if pruned(interest) > after:
        raise Expired
    return Page(events, reached if is_all else events[-1].number)


def find(interest: Interest, after: int, up_to: int) -> tuple[list[int], int]:
    """Return the numbers of a page of events, and how far the log has been read for them."""
    names = names_with_news(interest, after)
    if names is None:
        return scan(interest, after, up_to)
    numbers = first_numbers(names, after, up_to)
    return numbers, numbers[-1] if len(numbers) == log.PAGE_EVENTS else up_to


def first_numbers(names: Sequence[str], after: int, up_to: int) -> list[int]:
    """Return the first numbers of these topics' events, at most a page of them.

    Each topic is asked for by itself, so that (topic, number) is the index that serves: a
    planner that is given all at once may go through the whole log for them.
    """
    if not names:
        return []
    first = (
        "SELECT number FROM (SELECT number FROM echo_event WHERE topic = %s "
        "AND number > %s AND number <= %s ORDER BY number LIMIT %s) AS one"
    )
    query = " UNION ALL ".join([first] * len(names)) + " ORDER BY number LIMIT %s"
    parameters: list[str | int] = []
    for name in names:
        parameters += [name, after, up_to, log.PAGE_EVENTS]
    with connection.cursor() as cursor:
        cursor.execute(query, [*parameters, log.PAGE_EVENTS])
        return [number for (number,) in cursor.fetchall()]


def scan(interest: Interest, after: int, up_to: int) -> tuple[list[int], int]:
    """Return the numbers of what is wanted in the next part of the log, and its end."""
    window = log.PAGE_EVENTS if "*" in interest.patterns else SCANNED_EVENTS
    rows = EventRow.objects.filter(number__gt=after, number__lte=up_to)
    seen = list(rows.order_by("number").values_list("number", "topic")[:window])
    reached = seen[-1][0] if len(seen) == window else up_to
    wanted = [number for number, topic in seen if interest.matches(topic)]
    if len(wanted) > log.PAGE_EVENTS:
        wanted = wanted[: log.PAGE_EVENTS]
        reached = wanted[-1]
    return wanted, reached
