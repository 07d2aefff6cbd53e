"""Rings when something has been committed: events, or a change of who may read.

This process's own nodes are called at once, those of other processes get a message over the
channel layer. A message may be lost: the log is read once a second anyway, and rights are
judged every FEED_JUDGE_SECONDS.
"""

import asyncio
import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from channels.layers import InMemoryChannelLayer, get_channel_layer

from echo.feed.event import Event

logger = logging.getLogger("echo.feed")

# A message carries its events along, so that nodes need not read the log; one with more
# than this only makes them look.
MAX_MESSAGE_BYTES = 256 * 1024
# Messages that wait while the channel layer is slow or down; beyond it they are dropped.
MAX_WAITING_MESSAGES = 200
SEND_TIMEOUT_SECONDS = 2.0
FLUSH_SECONDS = 2.0

# What the channel layer carries: ``type`` names it, and decides the other keys.
Message = dict[str, Any]


class Listener(Protocol):
    """What a node of this process does when something has been committed."""

    def receive_events(
        self, events: Sequence[Event], committed_at: float | None
    ) -> None:
        """Deliver events; ``committed_at`` is the publisher's clock, in Unix seconds."""

    def receive_changes(self, changed: Sequence[str], over: Sequence[str]) -> None:
        """Judge the readers of changed accounts; end those of sessions that are over."""


# One for each event loop of this process that serves; used under the lock, in any thread.
listeners: dict[asyncio.AbstractEventLoop, Listener] = {}
listeners_lock = threading.Lock()


def add_listener(loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
    """Call a listener in its event loop from now on, until the loop is closed."""
    with listeners_lock:
        for closed in [known for known in listeners if known.is_closed()]:
            del listeners[closed]
        listeners[loop] = listener


def remove_listener(loop: asyncio.AbstractEventLoop) -> None:
    """Call the loop's listener no more; no-op if it has none."""
    with listeners_lock:
        listeners.pop(loop, None)


def open_listeners() -> list[tuple[asyncio.AbstractEventLoop, Listener]]:
    """Return the listeners whose event loop has not been closed."""
    with listeners_lock:
        return [pair for pair in listeners.items() if not pair[0].is_closed()]


def ring_events(events: Sequence[Event]) -> None:
    """Announce events that have just been committed, all of one epoch."""
    committed_at = time.time()
    call_listeners(lambda listener: listener.receive_events(events, committed_at))
    if reaches_others(get_channel_layer()):
        sender.send(group_name(events[0].epoch), pack_events(events, committed_at))


def ring_changes(
    find_epoch: Callable[[], str], changed: Sequence[str], over: Sequence[str]
) -> None:
    """Announce accounts that have changed, and sessions that are over.

    The epoch names the group of the other nodes; it is asked for where there are any.
    """
    call_listeners(lambda listener: listener.receive_changes(changed, over))
    if reaches_others(get_channel_layer()):
        message = {"type": "feed.judge", "changed": changed, "over": over}
        sender.send(group_name(find_epoch()), message)


def call_listeners(function: Callable[[Listener], None]) -> None:
    """Call a function with each listener of this process, soon, from any thread."""
    for loop, listener in open_listeners():
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(function, listener)


# --- over the channel layer ------------------------------------------------------------


def reaches_others(layer: Any) -> bool:
    """Return False for a layer in memory: it reaches nobody outside its own process."""
    return layer is not None and not isinstance(layer, InMemoryChannelLayer)


def group_name(epoch: str) -> str:
    """Return the name of the group of all nodes that share a log.

    Other sites may be on the same Redis: each log has an epoch of its own.
    """
    return f"feed.{epoch}"


def pack_events(events: Sequence[Event], committed_at: float) -> Message:
    """Return events as one message, or one that only makes nodes look when they are big."""
    if sum(event.size for event in events) > MAX_MESSAGE_BYTES:
        return {"type": "feed.look"}
    return {
        "type": "feed.events",
        "epoch": events[0].epoch,
        "committed_at": committed_at,
        "events": [event.packed() for event in events],
        "sources": [event.source for event in events],
    }


def unpack_events(message: Message) -> list[Event]:
    """Return the events of such a message; an older version's has no sources."""
    packed = message["events"]
    sources = message.get("sources") or [""] * len(packed)
    return [
        Event(message["epoch"], *fields, source)
        for fields, source in zip(packed, sources, strict=True)
    ]


class Sender:
    """One thread with one event loop and one connection, for all messages of this process.

    ``async_to_sync(layer.group_send)`` would make a loop and a connection for each.
    """

    def __init__(self) -> None:
        # Held while the loop is made.
        self.lock = threading.Lock()
        # The thread's; None until the first message.
        self.loop: asyncio.AbstractEventLoop | None = None
        # Notified when a message has been sent or has failed; guards `pending`.
        self.changed = threading.Condition()
        # Messages that have been taken and not sent yet.
        self.pending = 0
        # True after a failure, so that a row of failures is one warning.
        self.is_failing = False

    def send(self, group: str, message: Message) -> None:
        """Send the message soon, in order; drop it when too many wait already."""
        with self.changed:
            if self.pending >= MAX_WAITING_MESSAGES:
                return
            self.pending += 1
        coroutine = self.send_now(group, message)
        asyncio.run_coroutine_threadsafe(coroutine, self.running_loop())

    def running_loop(self) -> asyncio.AbstractEventLoop:
        """Return the thread's event loop; start the thread for the first message."""
        with self.lock:
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self.loop.run_forever, name="doorbell", daemon=True
                ).start()
                atexit.register(self.flush)
            return self.loop

    async def send_now(self, group: str, message: Message) -> None:
        """Send a message; warn of the first of a row of failures."""
        layer = get_channel_layer()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await layer.group_send(group, message)
            self.is_failing = False
        except Exception as error:  # noqa: BLE001 -- whatever the layer's client raises
            # A process that serves finds out by its own pulse, and warns of it then.
            if not self.is_failing and not open_listeners():
                logger.warning(
                    "the channel layer is down (%s): nodes will find events in the log",
                    error or type(error).__name__,
                )
            self.is_failing = True
        finally:
            with self.changed:
                self.pending -= 1
                self.changed.notify_all()

    def flush(self) -> None:
        """Wait for the messages under way, so that a command's last event rings too."""
        with self.changed:
            self.changed.wait_for(lambda: not self.pending, FLUSH_SECONDS)


sender = Sender()
