"""What an operator asks of all nodes, this one included: each answers for itself.

A question travels by its class's name and its fields, an answer as plain JSON values.
``answer`` runs on every node, ``merge`` where it was asked.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from echo.feed.subscription import State
from echo.feed.tally import Tally
from echo.protocol import EventId

if TYPE_CHECKING:
    from echo.feed.relay import Relay

# So many connections are looked at before others have their turn.
AT_ONCE = 250

Answers = Mapping[str, Any]  # by the name of the node


@dataclass(frozen=True, slots=True)
class Question:
    """The base of all questions, which knows them by name."""

    kinds: ClassVar[dict[str, type["Question"]]] = {}

    def __init_subclass__(cls) -> None:
        Question.kinds[cls.__name__] = cls

    def packed(self) -> dict[str, Any]:
        """The question as it travels over the channel layer."""
        return {"kind": type(self).__name__, "fields": asdict(self)}

    @staticmethod
    def unpack(packed: dict[str, Any]) -> "Question":
        return Question.kinds[packed["kind"]].of(packed["fields"])

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        return cls(**fields)

    async def answer(self, relay: "Relay") -> Any:
        """What this node knows, or has done."""
        raise NotImplementedError

    def merge(self, answers: Answers) -> dict[str, Any]:
        """One result of all nodes' answers."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Readers(Question):
    """How many connections read each of these topics: ``{"readers": {topic: count}}``."""

    topics: tuple[str, ...]

    async def answer(self, relay: "Relay") -> dict[str, int]:
        return {topic: await relay.stats.count_readers(topic) for topic in self.topics}

    def merge(self, answers: Answers) -> dict[str, Any]:
        counts = {
            topic: sum(answer[topic] for answer in answers.values())
            for topic in self.topics
        }
        return {"readers": counts}


@dataclass(frozen=True, slots=True)
class Deliveries(Question):
    """To how many connections each event was handed: ``{"deliveries": {number: count}}``.

    Exact for events that are tallied, else as many as were there to be handed it; events
    that no node remembers are left out.
    """

    numbers: tuple[int, ...]

    async def answer(self, relay: "Relay") -> list[tuple[int, int]]:
        counts = ((number, relay.tallies.count(number)) for number in self.numbers)
        return [(number, count) for number, count in counts if count is not None]

    def merge(self, answers: Answers) -> dict[str, Any]:
        counts: dict[int, int] = {}
        for answer in answers.values():
            for number, count in answer:
                counts[number] = counts.get(number, 0) + count
        return {"deliveries": counts}


@dataclass(frozen=True, slots=True)
class Receipt(Question):
    """How far the delivery of one event has come, if its deliveries are counted.

    ``offered``: connections that read its topic when it came; ``delivered``: how many of
    them have been handed it live; ``waiting``: how many have yet to come to it, of whom
    ``catching_up`` get it from the log; ``seconds``: from its COMMIT to the last of these
    deliveries, None before the first; ``is_known``: False when no node counts it, or none
    does any more.
    """

    id: str

    async def answer(self, relay: "Relay") -> dict[str, Any] | None:
        tally = relay.tallies.find(EventId.parse(self.id))
        if tally is None:
            return None
        waiting, catching_up = await count_waiting(relay, tally)
        return {
            "sent_at": tally.sent_at,
            "committed_at": tally.committed_at,
            "last_at": tally.last_at,
            "offered": tally.offered,
            "delivered": tally.delivered,
            "waiting": waiting,
            "catching_up": catching_up,
        }

    def merge(self, answers: Answers) -> dict[str, Any]:
        known = [answer for answer in answers.values() if answer is not None]
        totals = {
            name: sum(answer[name] for answer in known)
            for name in ("offered", "delivered", "waiting", "catching_up")
        }
        return totals | {"seconds": seconds(known), "is_known": bool(known)}


async def count_waiting(relay: "Relay", tally: Tally) -> tuple[int, int]:
    """How many who were offered an event have yet to come to it; how many from the log."""
    if tally.delivered >= tally.offered:
        return 0, 0
    readers = relay.readers_of.get(tally.topic)
    if readers is None:
        readers = relay.find_readers(tally.topic)
    waiting = catching_up = 0
    for number, reader in enumerate(list(readers.values())):
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        if reader.connection.since < tally.began_at and reader.cursor < tally.id:
            waiting += 1
            catching_up += reader.state is not State.LIVE
    return waiting, catching_up


def seconds(answers: list[dict[str, Any]]) -> float | None:
    """From COMMIT, or from the event's ``sent_at`` where none saw that, to the last delivery."""
    ends = [answer["last_at"] for answer in answers if answer["last_at"] is not None]
    if not ends:
        return None
    begins = [a["committed_at"] for a in answers if a["committed_at"] is not None]
    begin = min(begins) if begins else answers[0]["sent_at"]
    return max(0.0, max(ends) - begin)
