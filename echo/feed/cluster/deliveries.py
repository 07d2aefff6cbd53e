"""What operators ask of events: who reads their topics, and how far a delivery has come."""

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from echo.feed.cluster.survey import Question
from echo.feed.hub import BATCH_CONNECTIONS, Hub
from echo.feed.subscription import State
from echo.feed.tallies import Tally
from echo.protocol import EventId


@dataclass(frozen=True, slots=True)
class CountReaders(Question[dict[str, int], dict[str, int]]):
    """How many connections read each of these topics, by topic."""

    topics: tuple[str, ...]

    async def answer(self, hub: Hub) -> dict[str, int]:
        counts = {}
        for topic in self.topics:
            counts[topic] = len(hub.readers(topic))
            await asyncio.sleep(0)  # thousands may read it under several patterns
        return counts

    def merge(self, answers: Collection[dict[str, int]]) -> dict[str, int]:
        return {
            topic: sum(counts[topic] for counts in answers) for topic in self.topics
        }


@dataclass(frozen=True, slots=True)
class CountDeliveries(Question[list[list[int]], dict[int, int]]):
    """To how many connections each event was handed, by number.

    Exact for events that are tallied, else as many as it was offered to; events that no
    node remembers are left out. An answer is pairs of number and count: JSON has no other
    keys than text.
    """

    numbers: tuple[int, ...]

    async def answer(self, hub: Hub) -> list[list[int]]:
        counts = (
            (number, hub.tallies.deliveries_of(number)) for number in self.numbers
        )
        return [[number, count] for number, count in counts if count is not None]

    def merge(self, answers: Collection[list[list[int]]]) -> dict[int, int]:
        counts: Counter[int] = Counter()
        for answer in answers:
            for number, count in answer:
                counts[number] += count
        return dict(counts)


@dataclass(frozen=True, slots=True)
class DeliveryAnswer:
    """One node's part of a receipt. Times are Unix seconds."""

    sent_at: float
    committed_at: float | None
    last_at: float | None
    offered: int
    delivered: int
    waiting: int
    catching_up: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """How far the delivery of one event has come on all nodes that count it."""

    # Connections that read its topic when it came.
    offered: int = 0
    # How many of them have been sent it live.
    delivered: int = 0
    # How many have not reached it yet, and how many of those read it from the log.
    waiting: int = 0
    catching_up: int = 0
    # From its COMMIT to the last of these deliveries; None before the first.
    seconds: float | None = None
    # False when no node counts its deliveries, or none does any more.
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class GetReceipt(Question[DeliveryAnswer | None, Receipt]):
    """The receipt of the event with this id."""

    id: str

    async def answer(self, hub: Hub) -> DeliveryAnswer | None:
        tally = hub.tallies.find(EventId.parse(self.id))
        if tally is None:
            return None
        waiting, catching_up = await count_waiting(hub, tally)
        return DeliveryAnswer(
            tally.sent_at,
            tally.committed_at,
            tally.last_at,
            tally.offered,
            tally.delivered,
            waiting,
            catching_up,
        )

    def unpack_answer(self, packed: Any) -> DeliveryAnswer | None:
        return None if packed is None else DeliveryAnswer(**packed)

    def merge(self, answers: Collection[DeliveryAnswer | None]) -> Receipt:
        known = [answer for answer in answers if answer is not None]
        return Receipt(
            offered=sum(answer.offered for answer in known),
            delivered=sum(answer.delivered for answer in known),
            waiting=sum(answer.waiting for answer in known),
            catching_up=sum(answer.catching_up for answer in known),
            seconds=delivery_seconds(known),
            is_known=bool(known),
        )


async def count_waiting(hub: Hub, tally: Tally) -> tuple[int, int]:
    """Return how many who were offered an event wait for it, and how many for the log."""
    if tally.delivered >= tally.offered:
        return 0, 0
    waiting = catching_up = 0
    for number, reader in enumerate(list(hub.readers(tally.topic)), 1):
        if number % BATCH_CONNECTIONS == 0:
            await asyncio.sleep(0)
        if reader.connection.since < tally.began_at and reader.cursor < tally.id:
            waiting += 1
            catching_up += reader.state is not State.LIVE
    return waiting, catching_up


def delivery_seconds(answers: list[DeliveryAnswer]) -> float | None:
    """Return the time from COMMIT to the last delivery; None before the first.

    From the event's ``sent_at`` where no node was told when it was committed.
    """
    ends = [answer.last_at for answer in answers if answer.last_at is not None]
    if not ends:
        return None
    begins = [a.committed_at for a in answers if a.committed_at is not None]
    return max(0.0, max(ends) - (min(begins) if begins else answers[0].sent_at))
