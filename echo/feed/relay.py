"""The relay: moves this process's head along the log, one for each process and event loop.

The log is the truth and the channel layer a doorbell. The event after the head is fanned
out; an older one is dropped; for a later one the log is read from the head on. Should no
doorbell ring, the log is read anyway, a second later at most.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from django.db import DatabaseError

from echo.feed import history, log, metrics, threads
from echo.feed.access import Interest
from echo.feed.event import Event, Notice
from echo.feed.hub import Hub
from echo.protocol import EventId

logger = logging.getLogger("echo.feed")

# A doorbell that never rang costs at most this.
POLL_SECONDS = 1.0
# On SQLite a look costs 3 µs, so it may be frequent: other processes' events come at once.
LOCAL_POLL_SECONDS = 0.005

read_head = threads.tail.wrap(log.head)
renew_epoch = threads.tail.wrap(log.renew_epoch)


class Relay:
    """Brings committed events to the hub, each once and in order."""

    def __init__(self, hub: Hub, on_new_life: Callable[[], None]) -> None:
        # Its clock is the one that all times here are by.
        self.loop = asyncio.get_running_loop()
        # Is given each event.
        self.hub = hub
        # Has the head.
        self.history = hub.history
        # Called when the log has turned out to be another one.
        self.on_new_life = on_new_life
        # Set when the log may have more than this process has seen.
        self.look = asyncio.Event()
        # Held while the log is read from the head on: one reader at a time.
        self.catching_up = asyncio.Lock()
        # Notices commits of other processes on SQLite.
        self.watch: log.CommitWatch | None = None
        # What it said when the head that was last read was read; 0 before that.
        self.version_read = 0
        # False when the log has refused to be read; slow reads leave it as it was.
        self.is_log_up = True
        # When the log was last read, by the loop's clock.
        self.log_seen_at = self.loop.time()

    async def start(self) -> None:
        """Take the log's head as this process's own. Raises DatabaseError."""
        self.history.jump(await self.read_log_head())
        await self.history.load_recent()
        self.watch = log.CommitWatch()

    def stop(self) -> None:
        """Close what watches the database."""
        if self.watch is not None:
            self.watch.close()

    # --- doorbells ---------------------------------------------------------------------

    def receive_events(
        self, events: Sequence[Event], committed_at: float | None = None
    ) -> None:
        """Fan out those of a doorbell's events that come next; look at the log for a gap."""
        head = self.history.head
        for event in events:
            if event.epoch == head.epoch and event.number <= head.number:
                # The log was faster.
                self.hub.tallies.note_commit(event, committed_at)
        self.hub.fan_out(following(head, events), committed_at)
        last = events[-1].id
        if last.epoch != head.epoch or last.number > self.history.head.number:
            self.look.set()

    # --- the log -----------------------------------------------------------------------

    async def keep_watching(self) -> None:
        """Read the log when there may be news, and each second anyway."""
        assert self.watch is not None, "start() comes first"
        looked_at = self.loop.time()
        while True:
            is_frequent = self.watch.is_cheap and self.hub.subscriptions
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    LOCAL_POLL_SECONDS if is_frequent else POLL_SECONDS
                ):
                    await self.look.wait()
            is_overdue = self.loop.time() - looked_at >= POLL_SECONDS
            if self.look.is_set() or is_overdue or self.watch.changed():
                self.look.clear()
                looked_at = self.loop.time()
                await self.catch_up()

    async def catch_up(self) -> None:
        """Read the log from this process's head to its end, and fan out what is there."""
        async with self.catching_up:
            before = self.history.head  # a doorbell may move the head during the read
            version = self.watch.read_version() if self.watch else 0
            last = await self.read_log_head()
            if last.epoch != before.epoch or last.number < before.number:
                await self.begin_new_life(last)
            while self.history.head.number < last.number:
                metrics.gaps_healed.inc()
                head = self.history.head
                events = await history.read_tail(head.number, last.number)
                if not self.fan_out_page(head, events, last):
                    return
                # The writers' turn: their queues hold a page or two.
                await asyncio.sleep(0)
            self.version_read = version

    @property
    def is_at_end(self) -> bool:
        """Return True when it is known, without reading the log, that it has no more."""
        if self.watch is None or not self.watch.is_cheap:
            return False
        return self.watch.read_version() == self.version_read

    async def read_log_head(self) -> EventId:
        """Return the log's head; note whether it could be read."""
        try:
            head: EventId = await read_head()
        except threads.Unanswered:  # slow, or not at all: `log_seen_at` says so
            raise
        except Exception:
            self.is_log_up = False
            raise
        self.is_log_up = True
        self.log_seen_at = self.loop.time()
        return head

    @property
    def log_age_seconds(self) -> float:
        """Return how long ago the log was last read."""
        return self.loop.time() - self.log_seen_at

    def fan_out_page(self, head: EventId, events: list[Event], last: EventId) -> bool:
        """Fan out a page that was read after ``head``; return False if there is no more.

        Where retention has been faster than this relay, each reader finds out for itself
        whether it missed something.
        """
        if events and events[0].epoch != head.epoch:
            return False  # another life of the log has begun: the next look finds it
        if not events or events[0].number > head.number + 1:
            if self.history.head != head:
                return True  # a doorbell was faster
            number = events[0].number - 1 if events else last.number
            self.hub.skip_to(EventId(head.epoch, number))
        self.hub.fan_out(following(self.history.head, events))
        return bool(events)

    async def begin_new_life(self, last: EventId) -> None:
        """Reset every reader: the log was wiped or restored, and goes on at ``last``.

        A log that went backwards under its old name is an older copy, whose numbers would
        soon name other events: it gets a new epoch.
        """
        reason = "epoch"
        if last.epoch == self.history.head.epoch:
            reason, last = "ahead", await renew_epoch(last.epoch)
        logger.warning(
            "the log is another one: %s was %s; readers are reset",
            last,
            self.history.head,
        )
        self.hub.begin_new_life(reason, last)
        self.on_new_life()

    # --- where a reader begins ---------------------------------------------------------

    async def find_start(
        self, interest: Interest, since: str, address: str
    ) -> tuple[EventId, Notice | None]:
        """Return the cursor to begin at, and the ``reset`` to send first, if any.

        Reads the log only when memory cannot tell. Raises FeedError for a ``since`` that is
        no id, TooMany at the address's limit, and DatabaseError.
        """
        # Without readers the head may be a second old.
        may_be_old = not self.hub.subscriptions and not self.is_at_end
        if may_be_old:
            self.look.set()
        if since == "now":
            return self.history.head, None
        if since != "earliest":
            asked = EventId.parse(since)
            if may_be_old:
                # An old memory would say that nothing was missed.
                with contextlib.suppress(DatabaseError):
                    await self.catch_up()
            if asked == self.history.head or self.history.remembers(asked):
                return asked, None
        cursor, notice = await self.history.start(interest, since, address)
        head = self.history.head
        if cursor.epoch != head.epoch or cursor.number > head.number:
            await self.catch_up()
        return cursor, notice


def following(head: EventId, events: Sequence[Event]) -> list[Event]:
    """Return those of some events, in their order, that follow on the head without a gap."""
    found: list[Event] = []
    for event in events:
        if (event.epoch, event.number) == (head.epoch, head.number + len(found) + 1):
            found.append(event)
    return found
