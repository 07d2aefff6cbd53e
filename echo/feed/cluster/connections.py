"""What operators ask of connections: a page of them, and to end some.

Asked of the nodes when somebody wants to know, and never stored. Each node answers with a
page and totals, so that 10,000 connections cost no more to list than fifty; and it yields
now and then while it looks, so that no delivery waits for it.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Self

from echo.feed.cluster.survey import Question
from echo.feed.connection import STAY_AWAY_SECONDS
from echo.feed.hub import BATCH_CONNECTIONS, Hub
from echo.feed.subscription import State, Subscription
from echo.protocol import MAX_CLOSE_REASON_BYTES, CloseCode, FeedError

# Rows that a page, or the answer to `EndConnections`, has at most.
MAX_PAGE = 200
# A longer name of a client's software is cut.
MAX_USER_AGENT_LENGTH = 300

# What rows are sorted by: the time a connection was opened, and its id.
Place = tuple[float, str]


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One connection as the list shows it."""

    id: str
    # The node that has it.
    node: str
    transport: str
    # The user's name; empty for a visitor.
    user: str
    address: str
    user_agent: str
    # The patterns of topics that it reads.
    topics: list[str]
    # When it was opened, in Unix seconds.
    since: float
    # How many events its cursor is before the node's head.
    behind: int
    # How many events wait in its queue.
    queued: int
    # A `subscription.State`.
    state: str

    @classmethod
    def of(cls, subscription: Subscription) -> Self:
        """Return the row of a subscription."""
        connection = subscription.connection
        head = subscription.history.head
        return cls(
            id=connection.id,
            node=subscription.node_name,
            transport=connection.transport,
            user=subscription.interest.reader.username,
            address=connection.address,
            user_agent=connection.user_agent[:MAX_USER_AGENT_LENGTH],
            topics=list(subscription.interest.patterns),
            since=connection.since,
            behind=max(0, head.number - subscription.cursor.number),
            queued=len(subscription.queue),
            state=subscription.state.value,
        )


@dataclass(frozen=True, slots=True)
class ConnectionList:
    """A page of connections, or one node's candidates for it."""

    # How many connections match, on all pages.
    total: int
    # How many of them stand before the page.
    preceding: int
    rows: list[ConnectionRow]


@dataclass(frozen=True, slots=True)
class ListConnections(Question[ConnectionList, ConnectionList]):
    """A page of the connections that match, in the order of their age.

    An empty filter matches all.
    """

    # A topic that they read.
    topic: str = ""
    transport: str = ""
    # "live" or "catching_up".
    state: str = ""
    node: str = ""
    # Part of their id, address, user agent, user or topics.
    search: str = ""
    newest_first: bool = False
    # The place of the row before the page, or of the row after it.
    after: Place | None = None
    before: Place | None = None
    limit: int = 100
    # No other connections than these, when there are any.
    ids: tuple[str, ...] = ()

    def matches(self, subscription: Subscription) -> bool:
        """Return True for a connection that the filters let through."""
        if self.transport not in ("", subscription.connection.transport):
            return False
        if self.topic and not subscription.interest.matches(self.topic):
            return False
        if self.state and (self.state == "live") != (subscription.state is State.LIVE):
            return False
        return not self.search or self.search.lower() in search_text(subscription)

    async def find(self, hub: Hub) -> list[Subscription]:
        """Return this node's connections that match."""
        if self.node not in ("", hub.node_name):
            return []
        if self.ids:
            known = map(hub.subscriptions.get, self.ids)
            return [s for s in known if s is not None and self.matches(s)]
        found = []
        for number, subscription in enumerate(list(hub.subscriptions.values()), 1):
            if number % BATCH_CONNECTIONS == 0:
                await asyncio.sleep(0)
            if self.matches(subscription):
                found.append(subscription)
        return found

    def place(self, since: float, identity: str) -> Place:
        """Return what a row is sorted by."""
        return (-since if self.newest_first else since), identity

    async def answer(self, hub: Hub) -> ConnectionList:
        """Return this node's candidates; the asker merges and trims.

        ``preceding`` counts this node's up to ``after``, or up to ``before``.
        """
        found = await self.find(hub)
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
        return ConnectionList(len(found), end, [ConnectionRow.of(s) for _, s in rows])

    def unpack_answer(self, packed: Any) -> ConnectionList:
        rows = [ConnectionRow(**row) for row in packed["rows"]]
        return ConnectionList(packed["total"], packed["preceding"], rows)

    def merge(self, answers: Collection[ConnectionList]) -> ConnectionList:
        rows = [row for answer in answers for row in answer.rows]
        rows.sort(key=lambda row: self.place(row.since, row.id))
        limit = min(self.limit, MAX_PAGE)
        preceding = sum(answer.preceding for answer in answers)
        if self.before is not None:
            rows = rows[-limit:]
            preceding -= len(rows)
        total = sum(answer.total for answer in answers)
        return ConnectionList(total, preceding, rows[:limit])


def search_text(subscription: Subscription) -> str:
    """Return what an operator may search for, in lower case."""
    connection, interest = subscription.connection, subscription.interest
    parts = (
        connection.id,
        connection.address,
        connection.user_agent,
        interest.reader.username,
        *interest.patterns,
    )
    return " ".join(parts).lower()


@dataclass(frozen=True, slots=True)
class EndedConnections:
    """The connections that have been ended."""

    count: int
    # The first MAX_PAGE of each node.
    rows: list[ConnectionRow]


@dataclass(frozen=True, slots=True)
class EndConnections(Question[EndedConnections, EndedConnections]):
    """End the connections that match ``where``, on whichever page they are.

    Raises FeedError for a reason that is too long for a close frame.
    """

    code: int
    reason: str
    where: ListConnections = field(default_factory=ListConnections)

    def __post_init__(self) -> None:
        size = len(self.reason.encode())
        if size > MAX_CLOSE_REASON_BYTES:
            raise FeedError(
                f"reason: expected at most {MAX_CLOSE_REASON_BYTES} bytes, got {size}"
            )

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        return cls(**fields | {"where": ListConnections.of(fields["where"])})

    async def answer(self, hub: Hub) -> EndedConnections:
        found = [s for s in await self.where.find(hub) if s.bye is None]
        rows = [ConnectionRow.of(s) for s in found[:MAX_PAGE]]
        code = CloseCode(self.code)
        is_to_return = code is CloseCode.ASKED_TO_RECONNECT
        hub.end(found, code, self.reason, None if is_to_return else STAY_AWAY_SECONDS)
        return EndedConnections(len(found), rows)

    def unpack_answer(self, packed: Any) -> EndedConnections:
        rows = [ConnectionRow(**row) for row in packed["rows"]]
        return EndedConnections(packed["count"], rows)

    def merge(self, answers: Collection[EndedConnections]) -> EndedConnections:
        return EndedConnections(
            sum(answer.count for answer in answers),
            [row for answer in answers for row in answer.rows],
        )
