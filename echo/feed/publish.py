"""Publishes: writes to the log, and rings the doorbell once the transaction has committed.

Needs no event loop and no Redis. Inside a transaction the event goes out with its COMMIT,
or dies with its rollback. Outside, concurrent publishes share a commit (group.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection, transaction

from echo.feed import doorbell, log, metrics
from echo.feed.event import encode_data
from echo.feed.group import commits
from echo.feed.log import Entry, Published
from echo.models import Event as EventRow
from echo.protocol import MAX_KEY_LENGTH, FeedError, check_topic, is_utf8, quoted


def publish(
    topic: str,
    data: Any,
    *,
    key: str | None = None,
    source: str = EventRow.Source.CODE,
    author: str = "",
) -> Published:
    """Publish one event and return its id. Raises FeedError for a bad topic, data or key.

    ``data`` is any JSON value of at most 64 KiB. With a ``key``, a retry is harmless: the
    first event's id comes back, marked ``duplicate``.
    """
    event = {"topic": topic, "data": data, "key": key}
    return publish_many([event], source=source, author=author)[0]


async def apublish(
    topic: str,
    data: Any,
    *,
    key: str | None = None,
    source: str = EventRow.Source.CODE,
    author: str = "",
) -> Published:
    """Publish one event from a coroutine, as ``publish`` does.

    Raises DatabaseError when the database has not answered within 4.5 s: the event may then
    be published still, and a key makes the retry harmless.
    """
    event = {"topic": topic, "data": data, "key": key}
    return (await apublish_many([event], source=source, author=author))[0]


Events = Iterable[Mapping[str, Any]]


def publish_many(
    events: Events, *, source: str = EventRow.Source.CODE, author: str = ""
) -> list[Published]:
    """Publish ``{"topic", "data", "key"}`` in order, all or none, in one transaction."""
    entries = check_events(events, source, author)
    if not entries:
        return []
    if connection.in_atomic_block or not connection.get_autocommit():
        return publish_within_transaction(entries, source)
    return commits.commit(entries)


async def apublish_many(
    events: Events, *, source: str = EventRow.Source.CODE, author: str = ""
) -> list[Published]:
    """Publish many events from a coroutine, as ``publish_many`` and ``apublish`` do."""
    entries = check_events(events, source, author)
    return await commits.acommit(entries) if entries else []


def publish_within_transaction(
    entries: Sequence[Entry], source: str
) -> list[Published]:
    """Write entries in the caller's transaction, which may yet be rolled back."""
    with metrics.publish_seconds.time(), transaction.atomic():
        written, published = log.append(entries)
        if written:
            metrics.published.labels(source).inc(len(written))
            transaction.on_commit(lambda: doorbell.ring_events(written))
    return published


def check_events(events: Events, source: str, author: str) -> list[Entry]:
    """Return events as entries. Raises FeedError for a bad topic, data or key."""
    return [
        Entry(
            check_topic(event.get("topic", "")),
            encode_data(event.get("data")),
            check_key(event.get("key")),
            source,
            author,
        )
        for event in events
    ]


def check_key(key: object) -> str | None:
    """Return a key that fits its column, which is UTF-8 without NUL, or None.

    Raises FeedError for any other.
    """
    if key is None:
        return None
    if (
        not isinstance(key, str)
        or not 1 <= len(key) <= MAX_KEY_LENGTH
        or "\0" in key
        or not is_utf8(key)
    ):
        raise FeedError(
            f"key: expected 1 to {MAX_KEY_LENGTH} characters of UTF-8 without NUL, "
            f"got {quoted(key)}"
        )
    return key
