"""Who is connected: asked of the nodes when somebody wants to know, and never stored.

Each node answers with a page and a total, so that 10,000 connections cost no more to list
than fifty.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echo.feed.subscription import Subscription

MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class Question:
    """Which connections: of one transport, with words in any field; from where, how many."""

    transport: str = ""
    search: str = ""
    offset: int = 0
    limit: int = 50

    def matches(self, subscription: "Subscription") -> bool:
        connection = subscription.connection
        if self.transport not in ("", connection.transport):
            return False
        if not self.search:
            return True
        fields = (
            connection.id,
            connection.address,
            connection.user_agent,
            subscription.interest.reader.username,
            *subscription.interest.patterns,
        )
        return self.search.lower() in " ".join(fields).lower()

    def packed(self) -> dict[str, Any]:
        """The question as it travels over the channel layer."""
        return asdict(self)


def answer(
    question: Question, subscriptions: Iterable["Subscription"]
) -> dict[str, Any]:
    """One node's connections that match: how many, and the oldest of them as far as asked.

    A node cannot know which of its rows stand on the page that is made of all nodes', so it
    gives as many as could.
    """
    found = [s for s in subscriptions if question.matches(s)]
    found.sort(key=lambda s: s.connection.since)
    last = min(question.offset + question.limit, question.offset + MAX_PAGE)
    return {"total": len(found), "rows": [s.describe() for s in found[:last]]}


def merge(question: Question, answers: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The page of all nodes' answers: oldest first, each row with its node."""
    rows = [
        row | {"node": node}
        for node, answer in answers.items()
        for row in answer["rows"]
    ]
    rows.sort(key=lambda row: row["since"])
    page = rows[question.offset : question.offset + question.limit]
    return {
        "total": sum(answer["total"] for answer in answers.values()),
        "nodes": sorted(answers),
        "connections": page,
    }
