"""Who is connected: asked of the nodes when somebody wants to know, and never stored.

Each node answers with a page and totals, so that 10,000 connections cost no more to list
than fifty; and it yields now and then while it looks, so that no delivery waits for it.
"""

import asyncio
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from echo.feed.farewell import DAY_SECONDS, return_seconds
from echo.feed.question import AT_ONCE, Answers, Question
from echo.feed.subscription import State
from echo.protocol import MAX_CLOSE_REASON_BYTES, CloseCode, FeedError

if TYPE_CHECKING:
    from echo.feed.relay import Relay
    from echo.feed.subscription import Subscription

MAX_PAGE = 200

Place = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Census(Question):
    """Which connections, in the order of their age: a page of them, and how many there are.

    ``topic`` is one that they read; ``state`` is "live" or "catching_up"; ``search`` looks
    into every field; ``ids`` are the only ones that are asked for, when there are any.
    ``after`` or ``before`` is the place ``(since, id)`` of the row next to the page. The
    result is ``total``, ``preceding`` (how many stand before the page), and ``rows``.
    """

    topic: str = ""
    transport: str = ""
    state: str = ""
    node: str = ""
    search: str = ""
    newest_first: bool = False
    after: Place | None = None
    before: Place | None = None
    limit: int = 100
    ids: tuple[str, ...] = ()

    def matches(self, subscription: "Subscription") -> bool:
        """True for a connection that is asked for."""
        if self.transport not in ("", subscription.connection.transport):
            return False
        if self.topic and not subscription.interest.matches(self.topic):
            return False
        if self.state and (self.state == "live") != (subscription.state is State.LIVE):
            return False
        return not self.search or self.search.lower() in subscription.words.lower()

    async def find(self, relay: "Relay") -> list["Subscription"]:
        """This node's connections that are asked for."""
        if self.node not in ("", relay.node):
            return []
        if self.ids:
            known = map(relay.subscriptions.get, self.ids)
            return [s for s in known if s is not None and self.matches(s)]
        found = []
        for number, subscription in enumerate(list(relay.subscriptions.values())):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            if self.matches(subscription):
                found.append(subscription)
        return found

    def place(self, since: float, identity: str) -> Place:
        """What rows are sorted by."""
        return (-since if self.newest_first else since), identity

    async def answer(self, relay: "Relay") -> dict[str, Any]:
        """A node cannot know which of its rows the page has: it gives all that it could."""
        found = await self.find(relay)
        placed = [(self.place(s.connection.since, s.connection.id), s) for s in found]
        placed.sort(key=lambda pair: pair[0])
        places = [place for place, _ in placed]
        limit = min(self.limit, MAX_PAGE)
        if self.before is not None:
            end = bisect_left(places, self.place(*self.before))
            rows = placed[max(0, end - limit) : end]
        else:
            end = bisect_right(places, self.place(*self.after)) if self.after else 0
            rows = placed[end : end + limit]
        return {
            "total": len(found),
            "reached": end,
            "rows": [s.describe() | {"node": relay.node} for _, s in rows],
        }

    def merge(self, answers: Answers) -> dict[str, Any]:
        rows = [row for answer in answers.values() for row in answer["rows"]]
        rows.sort(key=lambda row: self.place(row["since"], row["id"]))
        limit = min(self.limit, MAX_PAGE)
        preceding = sum(answer["reached"] for answer in answers.values())
        if self.before is not None:
            rows = rows[-limit:]
            preceding -= len(rows)
        return {
            "total": sum(answer["total"] for answer in answers.values()),
            "preceding": preceding,
            "rows": rows[:limit],
        }


@dataclass(frozen=True, slots=True)
class End(Question):
    """Ends the connections that ``where`` asks for, on whichever page.

    The result is ``ended``, how many, and the ``rows`` of the first 200 of each node.
    """

    code: int
    reason: str
    where: Census = field(default_factory=Census)

    def __post_init__(self) -> None:
        size = len(self.reason.encode())
        if size > MAX_CLOSE_REASON_BYTES:
            raise FeedError(
                f"reason: expected at most {MAX_CLOSE_REASON_BYTES} bytes, got {size}"
            )

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        return cls(**fields | {"where": Census(**fields["where"])})

    async def answer(self, relay: "Relay") -> dict[str, Any]:
        found = [s for s in await self.where.find(relay) if s.bye is None]
        rows = [s.describe() | {"node": relay.node} for s in found[:MAX_PAGE]]
        self.end(found[:AT_ONCE], len(found))
        if found[AT_ONCE:]:
            relay.nodes.background(self.end_others(found))
        return {"ended": len(found), "rows": rows}

    def end(self, some: list["Subscription"], count: int) -> None:
        """Ends some of ``count`` connections."""
        for subscription in some:
            subscription.end(
                CloseCode(self.code), self.reason, self.retry_seconds(count)
            )

    async def end_others(self, found: list["Subscription"]) -> None:
        """Closing thousands takes longer than an answer may: it goes on after that."""
        for start in range(AT_ONCE, len(found), AT_ONCE):
            await asyncio.sleep(0)
            self.end(found[start : start + AT_ONCE], len(found))

    def retry_seconds(self, count: int) -> float:
        """Those who are to come back do so one by one; the others, not for a day."""
        if self.code != CloseCode.ASKED_TO_RECONNECT:
            return DAY_SECONDS
        return return_seconds(count)

    def merge(self, answers: Answers) -> dict[str, Any]:
        return {
            "ended": sum(answer["ended"] for answer in answers.values()),
            "rows": [row for answer in answers.values() for row in answer["rows"]],
        }
