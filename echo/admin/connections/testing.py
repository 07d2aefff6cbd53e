"""Chooses the topics of test events: each reaches its connection, and few others."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from echo import feed
from echo.admin.survey import ask
from echo.protocol import MAX_PUBLISHED_AT_ONCE

# Ten answers of a node: an operator waits for them.
MAX_CONNECTIONS = 2000


class TooManyTopics(Exception):
    """More events would be needed, or more connections looked at, than is reasonable."""


def plan(where: feed.Census) -> tuple[Counter[str], dict[str, int]]:
    """The topics to publish to, with how many of the connections each is for; and readers.

    Raises TooManyTopics.
    """
    candidates = [tuple(map(example, row["topics"])) for row in connections(where)]
    readers = count_readers({topic for topics in candidates for topic in topics})
    chosen = Counter(min(topics, key=readers.__getitem__) for topics in candidates)
    if len(chosen) > MAX_PUBLISHED_AT_ONCE:
        raise TooManyTopics(
            _(
                "Expected connections that %(limit)d topics reach, got %(got)d topics: "
                "select fewer."
            )
            % {"limit": MAX_PUBLISHED_AT_ONCE, "got": len(chosen)}
        )
    return chosen, readers


def example(pattern: str) -> str:
    """A topic that the pattern matches."""
    if pattern == "*":
        return "test"
    return pattern.removesuffix("*") + "test" if pattern.endswith(".*") else pattern


def connections(where: feed.Census) -> Iterator[dict[str, Any]]:
    """All the connections, page by page."""
    page = replace(where, limit=feed.MAX_PAGE)
    while True:
        answer = ask(page)
        if answer["total"] > MAX_CONNECTIONS:
            raise TooManyTopics(
                _(
                    "Expected at most %(limit)d connections, got %(got)d: "
                    "filter or select fewer."
                )
                % {"limit": MAX_CONNECTIONS, "got": answer["total"]}
            )
        yield from answer["rows"]
        if len(answer["rows"]) < feed.MAX_PAGE:
            return
        last = answer["rows"][-1]
        page = replace(page, after=(last["since"], last["id"]))


def count_readers(topics: Iterable[str]) -> dict[str, int]:
    """How many connections read each topic now."""
    names = sorted(topics)
    readers: dict[str, int] = {}
    for start in range(0, len(names), feed.MAX_PAGE):
        part = tuple(names[start : start + feed.MAX_PAGE])
        readers |= ask(feed.Readers(part))["readers"]
    return readers
