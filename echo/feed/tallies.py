"""Counts what this node hands out: each event roughly, chosen events exactly.

A chosen event, a sample or one of the admin's, carries a callback that each transport calls
right before it sends it. So its count is exact, and so is its time; all others pay nothing.
"""

import math
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace

from echo.feed.event import Event
from echo.models import Event as EventRow
from echo.protocol import EventId

# The topic of the site's own figures, which are not counted among its events.
STATS_TOPIC = "staff.stats"
MAX_TALLIES = 200
MAX_OFFERED = 10_000
# Delays are counted in steps of 2 ** (1 / 8), about 9 %.
STEPS_TO_DOUBLE = 8

# How many deliveries took how long, by `delay_step`.
Delays = Counter[int]


@dataclass(slots=True)
class Tally:
    """The deliveries of one event on this node. Times are Unix seconds."""

    id: EventId
    topic: str
    # The database's clock.
    sent_at: float
    # This node's clock, when the event was offered.
    began_at: float
    # How many connections it was offered to.
    offered: int
    # Shared by all tallies of the node.
    delays: Delays
    # The publisher's clock, right after its COMMIT; None if the event came from the log and
    # not by a doorbell.
    committed_at: float | None = None
    # How many connections a transport has sent it to.
    delivered: int = 0
    # When that last happened.
    last_at: float | None = None

    def add_delivery(self) -> None:
        """Count one more connection that is being sent the event."""
        self.last_at = time.time()
        self.delivered += 1
        self.delays[delay_step(self.last_at - self.sent_at)] += 1


def delay_step(seconds: float) -> int:
    """Return the delay's place on a logarithmic scale that begins at 0.1 ms."""
    return round(STEPS_TO_DOUBLE * math.log2(max(seconds, 0.0001) * 1000))


def percentile(delays: Delays, share: float) -> float | None:
    """Return the percentile in ms (``share`` is 0 to 1), or None if nothing was counted."""
    left = share * delays.total()
    for place in sorted(delays):
        left -= delays[place]
        if left <= 0:
            return round(2 ** (place / STEPS_TO_DOUBLE), 2)
    return None


class Tallies:
    """How many connections each recent event was offered to, and the chosen ones' tallies."""

    def __init__(self) -> None:
        # The last chosen events, by number; the oldest goes first.
        self.tallies: OrderedDict[int, Tally] = OrderedDict()
        # To how many connections each of the last events was offered, by number.
        self.offered: OrderedDict[int, int] = OrderedDict()
        # The delays of tallied deliveries in the second under way: see `take_second`.
        self.delays: Delays = Counter()
        # The events of that second, but for the figures' own.
        self.event_count = 0
        # To how many connections they were offered, all together.
        self.offer_count = 0
        # True when the next event is to be tallied, for the delays in the figures.
        self.wants_sample = False

    def record_offer(
        self, event: Event, readers: int, committed_at: float | None = None
    ) -> Event:
        """Count an event that is about to be offered; return it with a tally if it has one."""
        self.offered[event.number] = readers
        if len(self.offered) > MAX_OFFERED:
            self.offered.popitem(last=False)
        if event.topic == STATS_TOPIC:
            return event
        self.event_count += 1
        self.offer_count += readers
        is_sample, self.wants_sample = self.wants_sample, False
        if is_sample or event.source == EventRow.Source.ADMIN:
            return self.tallied(event, readers, committed_at)
        return event

    def tallied(self, event: Event, readers: int, committed_at: float | None) -> Event:
        """Return a copy of the event that counts its deliveries: other nodes share it."""
        tally = Tally(
            event.id,
            event.topic,
            event.sent_timestamp,
            time.time(),
            readers,
            self.delays,
            committed_at,
        )
        self.tallies[event.number] = tally
        if len(self.tallies) > MAX_TALLIES:
            self.tallies.popitem(last=False)
        return replace(event, on_delivery=tally.add_delivery)

    def find(self, event_id: EventId) -> Tally | None:
        """Return an event's tally; None if it has none, or is of another life of the log."""
        tally = self.tallies.get(event_id.number)
        return tally if tally is not None and tally.id == event_id else None

    def note_commit(self, event: Event, committed_at: float | None) -> None:
        """Note when an event was committed that was found in the log before its doorbell."""
        if (tally := self.find(event.id)) is not None:
            tally.committed_at = tally.committed_at or committed_at

    def deliveries_of(self, number: int) -> int | None:
        """Return how many connections an event was sent to; None if it is not remembered."""
        tally = self.tallies.get(number)
        return self.offered.get(number) if tally is None else tally.delivered

    def take_second(self) -> tuple[int, int, Delays]:
        """Return the events, deliveries and delays since the last call."""
        events, deliveries, delays = (
            self.event_count,
            self.offer_count,
            self.delays.copy(),
        )
        self.event_count = self.offer_count = 0
        self.delays.clear()
        return events, deliveries, delays

    def clear(self) -> None:
        """Forget all: the log's numbers begin to name other events."""
        self.tallies.clear()
        self.offered.clear()
