"""Keeps the last events in memory: readers who were away for a moment need no database."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from echo.feed import log
from echo.feed.access import Interest
from echo.feed.event import Event
from echo.feed.replay import Page

MAX_EVENTS = 2000
MAX_BYTES = 4 * 1024 * 1024


class Recent:
    """Consecutive events of one life of the log, bounded in number and in bytes."""

    def __init__(self) -> None:
        # Their numbers follow one another without a gap.
        self._events: deque[Event] = deque()
        # The sum of their sizes.
        self.bytes = 0

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def append(self, event: Event) -> None:
        """Remember the next event; forget the oldest beyond the bounds."""
        self._events.append(event)
        self.bytes += event.size
        while len(self._events) > MAX_EVENTS or self.bytes > MAX_BYTES:
            self.bytes -= self._events.popleft().size

    def clear(self) -> None:
        """Forget all: what comes next does not follow on what was."""
        self._events.clear()
        self.bytes = 0

    def reaches_back_to(self, number: int) -> bool:
        """Return True when every event after this number is remembered."""
        return bool(self._events) and self._events[0].number - 1 <= number

    def page(self, interest: Interest, after: int, up_to: int) -> Page:
        """Return what an interest is given between two numbers, as the log would give it.

        At least one event, and no more bytes than a page has.
        """
        wanted: list[Event] = []
        size = 0
        # By topic, whether it is wanted: events are many, and topics few.
        is_wanted: dict[str, bool] = {}
        skipped = max(0, after - self._events[0].number + 1)
        for event in islice(self._events, skipped, None):
            if event.number > up_to:
                break
            if event.topic not in is_wanted:
                is_wanted[event.topic] = interest.matches(event.topic)
            if not is_wanted[event.topic]:
                continue
            size += event.size
            if wanted and (len(wanted) >= log.PAGE_EVENTS or size > log.PAGE_BYTES):
                return Page(wanted, wanted[-1].number)
            wanted.append(event)
        return Page(wanted, up_to)
