"""Publishes: writes to the log, and rings the doorbell once the transaction has committed.

Needs no event loop and no Redis. The doorbell may be lost: the relays find the event in
the log. Inside a transaction the event goes out with its COMMIT, or dies with its rollback.
"""

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from channels.layers import get_channel_layer
from django.db import transaction

from echo.feed import local, log, metrics, nodes
from echo.feed.event import Event, encode_data
from echo.feed.threads import publishing
from echo.models import Event as EventRow
from echo.protocol import MAX_KEY_LENGTH, FeedError, check_topic, is_utf8, quoted

logger = logging.getLogger("echo.feed")

# A ring carries its events along, so that nodes need not read the log; one with more
# than this only says that there is something to read.
MAX_RING_BYTES = 256 * 1024
# Rings that wait while the channel layer is slow or down; beyond it they are dropped.
MAX_WAITING_RINGS = 200
RING_TIMEOUT_SECONDS = 2.0
FAREWELL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Published:
    """A committed event's id; ``duplicate`` when its key had been used before."""

    id: str
    duplicate: bool = False

    def __str__(self) -> str:
        return self.id


def publish(
    topic: str,
    data: Any,
    *,
    key: str | None = None,
    source: str = EventRow.Source.CODE,
    author: str = "",
) -> Published:
    """Publishes one event. Raises FeedError for a bad topic, data or key.

    With a ``key``, a retry is harmless: the first event's id comes back, as a duplicate.
    """
    event = {"topic": topic, "data": data, "key": key}
    return publish_many([event], source=source, author=author)[0]


def publish_many(
    events: Iterable[Mapping[str, Any]],
    *,
    source: str = EventRow.Source.CODE,
    author: str = "",
) -> list[Published]:
    """Publishes ``{"topic", "data", "key"}`` in order, all or none, in one transaction."""
    entries = [
        log.Entry(
            check_topic(event.get("topic", "")),
            encode_data(event.get("data")),
            check_key(event.get("key")),
            source,
            author,
        )
        for event in events
    ]
    if not entries:
        return []
    with metrics.publish_seconds.time(), transaction.atomic():
        written, receipts = log.append(entries)
        if written:
            metrics.published.labels(source).inc(len(written))
            transaction.on_commit(lambda: ring(written))
    return [Published(str(receipt.id), receipt.duplicate) for receipt in receipts]


# For coroutines. DatabaseError when the database has not answered within 4.5 s: the event may
# then be published still, and a key makes the retry harmless.
apublish = publishing.wrap(publish)
apublish_many = publishing.wrap(publish_many)


def check_key(key: object) -> str | None:
    """A key that fits its column, which is UTF-8 without NUL, or None."""
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


def ring(events: list[Event]) -> None:
    """Tells this process's relays at once, and every other node over the channel layer."""
    committed_at = time.time()
    local.take_everywhere(events, committed_at)
    ring_nodes(events[0].epoch, nodes.message(events, committed_at, MAX_RING_BYTES))


def ring_nodes(epoch: str, message: dict[str, Any]) -> None:
    """Tells every node of the site over the channel layer, if it reaches any."""
    if nodes.carries(get_channel_layer()):
        doorbell.ring(nodes.group(epoch), message)


class Doorbell:
    """One thread with one event loop and one connection, for all rings of this process.

    ``async_to_sync(layer.group_send)`` would make a loop and a connection for each.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.sending = threading.Condition()
        self.pending = 0
        self.silent = False

    def ring(self, group: str, message: dict[str, Any]) -> None:
        """Sends the message soon, in order; drops it when too many wait already."""
        with self.sending:
            if self.pending >= MAX_WAITING_RINGS:
                return
            self.pending += 1
        coroutine = self.send(group, message)
        asyncio.run_coroutine_threadsafe(coroutine, self.running_loop())

    def running_loop(self) -> asyncio.AbstractEventLoop:
        with self.lock:
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self.loop.run_forever, name="doorbell", daemon=True
                ).start()
                atexit.register(self.flush)
            return self.loop

    async def send(self, group: str, message: dict[str, Any]) -> None:
        layer = get_channel_layer()
        try:
            async with asyncio.timeout(RING_TIMEOUT_SECONDS):
                await layer.group_send(group, message)
            self.silent = False
        except Exception as error:  # noqa: BLE001 -- whatever the layer's client raises
            if not self.silent and not local.present():  # a relay would tell itself
                logger.warning(
                    "the channel layer is down (%s): nodes will find events in the log",
                    error or type(error).__name__,
                )
            self.silent = True
        finally:
            with self.sending:
                self.pending -= 1
                self.sending.notify_all()

    def flush(self) -> None:
        """Waits for the rings under way, so that a command's last event is rung too."""
        with self.sending:
            self.sending.wait_for(lambda: not self.pending, FAREWELL_SECONDS)


doorbell = Doorbell()
