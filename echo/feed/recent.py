"""The last events in memory: readers who were away for a moment need no database."""

from collections import deque
from collections.abc import Iterator

from echo.feed import log
from echo.feed.access import Interest
from echo.feed.event import Event
from echo.feed.log import Page

MAX_EVENTS = 2000
MAX_BYTES = 4 * 1024 * 1024


class Recent:
    """Consecutive events of one life of the log, bounded in number and in bytes."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self.bytes = 0

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def append(self, event: Event) -> None:
        """Remembers the next event, and forgets the oldest beyond the bounds."""
        self._events.append(event)
        self.bytes += event.size
        while len(self._events) > MAX_EVENTS or self.bytes > MAX_BYTES:
            self.bytes -= self._events.popleft().size

    def clear(self) -> None:
        """Forgets all: what comes next does not follow on what was."""
        self._events.clear()
        self.bytes = 0

    def reaches_back_to(self, number: int) -> bool:
        """True when every event after this number is remembered."""
        return bool(self._events) and self._events[0].number - 1 <= number

    def page(self, interest: Interest, after: int, up_to: int) -> Page:
        """What an interest is told of between two numbers, as the log would give it."""
        wanted = [
            event
            for event in self._events
            if after < event.number <= up_to and interest.matches(event.topic)
        ]
        if len(wanted) <= log.PAGE_EVENTS:
            return Page(wanted, up_to)
        return Page(wanted[: log.PAGE_EVENTS], wanted[log.PAGE_EVENTS - 1].number)
