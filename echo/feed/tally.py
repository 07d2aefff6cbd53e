"""Counts the deliveries of chosen events as they happen; all other events pay nothing.

A chosen event is offered in a form of its own, whose wire forms are asked for once by each
connection's writer, right before it sends. So the count is exact, and so is the time.
"""

import math
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

from echo.feed.event import Event
from echo.protocol import EventId

MAX_TALLIES = 200
MAX_DELIVERIES = 10_000
# Delays are counted in steps of 2 ** (1 / 8), about 9 %.
STEPS_TO_DOUBLE = 8


@dataclass(slots=True)
class Tally:
    """One event on this node: to how many it was offered, how many have been handed it.

    Times are Unix seconds, ``began_at`` by this node's own clock; ``delays`` counts the hand-overs of all tallies, by ``step``.
    """

    id: EventId
    topic: str
    sent_at: float
    began_at: float
    offered: int
    delays: Counter[int]
    committed_at: float | None = None
    delivered: int = 0
    last_at: float | None = None

    def count(self) -> None:
        """One more connection is handed the event now."""
        self.last_at = time.time()
        self.delivered += 1
        self.delays[step(self.last_at - self.sent_at)] += 1


def step(seconds: float) -> int:
    """The delay on a logarithmic scale that begins at 0.1 ms."""
    return round(STEPS_TO_DOUBLE * math.log2(max(seconds, 0.0001) * 1000))


def percentile(delays: Counter[int], share: float) -> float | None:
    """The delay in milliseconds that so great a share does not exceed; None of none."""
    left = share * delays.total()
    for place in sorted(delays):
        left -= delays[place]
        if left <= 0:
            return round(2 ** (place / STEPS_TO_DOUBLE), 2)
    return None


@dataclass(frozen=True, eq=False)
class TalliedEvent(Event):
    """An event that counts each connection which is handed it."""

    tally: Tally = field(kw_only=True)

    @property
    def message(self) -> dict[str, Any]:
        self.tally.count()
        return super().message

    @property
    def sse(self) -> bytes:
        self.tally.count()
        return super().sse

    @property
    def polled(self) -> str:
        self.tally.count()
        return self.json


class Tallies:
    """The last chosen events' tallies, and to how many each recent event was offered."""

    def __init__(self) -> None:
        self.tallies: OrderedDict[int, Tally] = OrderedDict()
        self.offered: OrderedDict[int, int] = OrderedDict()
        self.delays: Counter[int] = Counter()

    def remember(self, event: Event, readers: int) -> None:
        """Notes to how many connections an event is offered."""
        self.offered[event.number] = readers
        if len(self.offered) > MAX_DELIVERIES:
            self.offered.popitem(last=False)

    def begin(
        self, event: Event, sent_at: float, readers: int, committed_at: float | None
    ) -> TalliedEvent:
        """The event in the form that counts its deliveries."""
        began_at = time.time()
        tally = Tally(
            event.id, event.topic, sent_at, began_at, readers, self.delays, committed_at
        )
        self.tallies[event.number] = tally
        if len(self.tallies) > MAX_TALLIES:
            self.tallies.popitem(last=False)
        return TalliedEvent(
            event.epoch,
            event.number,
            event.topic,
            event.previous,
            event.sent_at,
            event.data,
            event.source,
            tally=tally,
        )

    def find(self, event_id: EventId) -> Tally | None:
        """An event's tally; None for one that is not remembered, or of another log's life."""
        tally = self.tallies.get(event_id.number)
        return tally if tally is not None and tally.id == event_id else None

    def committed(self, event: Event, moment: float | None) -> None:
        """Notes when an event that the log had told of first was committed."""
        if (tally := self.find(event.id)) is not None:
            tally.committed_at = tally.committed_at or moment

    def count(self, number: int) -> int | None:
        """How many have been handed an event; None when that is not remembered."""
        tally = self.tallies.get(number)
        return self.offered.get(number) if tally is None else tally.delivered

    def take_delays(self) -> Counter[int]:
        """The delays counted since they were last taken."""
        taken = self.delays.copy()
        self.delays.clear()
        return taken

    def clear(self) -> None:
        """Forgets all: the log's numbers begin to name other events."""
        self.tallies.clear()
        self.offered.clear()
