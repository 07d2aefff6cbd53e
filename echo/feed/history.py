"""What a reader can be given of the past, from memory where it can be, else from the log.

Reads of the database are few: equal questions at the same time share one, and each client
address has so many a second.
"""

import contextlib
from collections.abc import Callable
from functools import partial

from django.db import DatabaseError

from echo.feed import log, replay, threads
from echo.feed.access import Interest
from echo.feed.allowance import Allowances
from echo.feed.event import Event, Notice
from echo.feed.recent import Recent
from echo.feed.replay import Page
from echo.feed.shared import SharedReads
from echo.protocol import EventId

# Events that are read into memory when the process starts.
EVENTS_AT_START = 200
# How long the oldest cursor of an interest is taken to be the same.
OLDEST_SECONDS = 1.0
MAX_KNOWN_OLDEST = 1000

read_tail = threads.tail.wrap(log.tail)
read_start = threads.history.wrap(replay.start)
read_page = threads.history.wrap(replay.page)
read_oldest = threads.history.wrap(replay.oldest)


class History:
    """The past of the feed up to this process's head. The relay alone moves the head."""

    def __init__(self, clock: Callable[[], float]) -> None:
        # In seconds, monotonic.
        self.clock = clock
        # The last event that has been fanned out here; number 0 before the first.
        self.head = EventId("", 0)
        # The events up to the head, as far back as memory reaches.
        self.recent = Recent()
        # The reads of the database that are under way or a moment old.
        self.shared = SharedReads()
        # How much each client address may have read.
        self.allowances = Allowances(clock)
        # By interest: when its oldest cursor was read, and that cursor.
        self.known_oldest: dict[Interest, tuple[float, EventId]] = {}

    # --- the head ----------------------------------------------------------------------

    def append(self, event: Event) -> None:
        """Move the head on to the next event."""
        self.head = event.id
        self.recent.append(event)

    def jump(self, head: EventId) -> None:
        """Move the head to where the events do not follow on those in memory."""
        if head.epoch != self.head.epoch:
            self.shared.clear()
        self.recent.clear()
        self.head = head

    async def load_recent(self) -> None:
        """Fill the memory with the last events, for readers who come back together.

        Those whose node was restarted have missed a few events at most. Without the
        database memory stays empty, and they read the log.
        """
        number = max(0, self.head.number - EVENTS_AT_START)
        with contextlib.suppress(DatabaseError):
            while number < self.head.number:
                events = await read_tail(number, self.head.number)
                if not events or events[0].epoch != self.head.epoch:
                    return self.recent.clear()
                if events[0].number != number + 1:  # retention has left a gap
                    self.recent.clear()
                for event in events:
                    self.recent.append(event)
                number = events[-1].number

    # --- what a reader is given --------------------------------------------------------

    def remembers(self, cursor: EventId) -> bool:
        """Return True when every event after the cursor is in memory."""
        return (
            cursor.epoch == self.head.epoch
            and cursor.number <= self.head.number
            and self.recent.reaches_back_to(cursor.number)
        )

    async def start(
        self, interest: Interest, since: str, address: str
    ) -> tuple[EventId, Notice | None]:
        """Return the cursor a reader begins at, and the ``reset`` that it must have first.

        Reads the log. Raises TooMany when the address has had its share of reads.
        """
        key = "start", self.head, interest, since
        if not self.shared.knows(key):
            self.allowances.spend(address)
        return await self.shared.read(key, partial(read_start, interest, since))

    async def page(
        self, interest: Interest, after: int, up_to: int, address: str
    ) -> Page:
        """Return what an interest is given between two numbers (after < number <= up_to).

        From the log at the pace that the address is allowed. Raises replay.Expired when
        retention has overtaken ``after``.
        """
        if self.recent.reaches_back_to(after):
            return self.recent.page(interest, after, up_to)
        key = "page", self.head.epoch, interest, after, up_to
        read = partial(read_page, interest, after, up_to)
        if self.shared.knows(key):
            return await self.shared.read(key, read)
        async with self.allowances.turn(address):
            return await self.shared.read(key, read)

    async def oldest(self, interest: Interest) -> EventId:
        """Return the cursor from which all that is kept can be had, a second old at most.

        While the log cannot be read it is the head: what comes after that is kept.
        """
        known_at, cursor = self.known_oldest.get(interest, (0.0, self.head))
        if self.clock() - known_at > OLDEST_SECONDS:
            read = partial(read_oldest, interest)
            try:
                number = await self.shared.read(("oldest", interest), read)
            except DatabaseError:
                return self.head
            cursor = EventId(self.head.epoch, number)
            if len(self.known_oldest) >= MAX_KNOWN_OLDEST:
                self.known_oldest.clear()
            self.known_oldest[interest] = self.clock(), cursor
        return cursor
