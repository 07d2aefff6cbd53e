"""Turns a survey of connections into what the templates show: rows, links, filters."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf, nextafter
from typing import Self

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from echo.admin.connections.query import (
    STATES,
    TRANSPORTS,
    ConnectionQuery,
    format_position,
)
from echo.admin.formats import format_age, format_number
from echo.admin.survey import caveats
from echo.feed import cluster

# Topics of one connection that a row names; its title has them all.
SHOWN_TOPICS = 4


@dataclass(frozen=True, slots=True)
class Row:
    """A connection as a node describes it, and what a row derives from that."""

    connection: cluster.ConnectionRow
    transport: str | Promise
    state: str
    since: datetime
    age: str
    behind: str
    queued: str
    all_topics: str
    shown_topics: str
    more_topics: int

    @classmethod
    def of(cls, connection: cluster.ConnectionRow) -> Self:
        """Return the row of a connection."""
        topics = connection.topics
        since = datetime.fromtimestamp(connection.since, UTC)
        return cls(
            connection,
            transport=TRANSPORTS.get(connection.transport, connection.transport),
            state="live" if connection.state == "live" else "catching_up",
            since=since,
            age=format_age((timezone.now() - since).total_seconds()),
            behind=format_number(connection.behind),
            queued=format_number(connection.queued),
            all_topics=" ".join(topics),
            shown_topics=" ".join(topics[:SHOWN_TOPICS]),
            more_topics=len(topics) - SHOWN_TOPICS,
        )

    @property
    def state_name(self) -> str | Promise:
        return STATES[self.state]


@dataclass(frozen=True, slots=True)
class Pages:
    """Which rows of all a page has, and the URLs of the pages beside it; "" for none."""

    range: str
    first: str
    previous: str
    next: str
    # The same rows at a URL where newer connections do not push them off the page.
    anchor: str

    @classmethod
    def of(cls, query: ConnectionQuery, page: cluster.ConnectionList) -> Self:
        """Return the pages around a page."""
        rows, preceding = page.rows, page.preceding
        last = preceding + len(rows)
        is_first = not (preceding or query.after or query.before)
        has_next = rows and last < page.total
        return cls(
            range=f"{format_number(preceding + 1)}–{format_number(last)}",
            first="" if is_first else query.url(),
            previous=query.url(before=position(rows[0])) if rows and preceding else "",
            next=query.url(after=position(rows[-1])) if has_next else "",
            anchor=anchor(query, rows),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a filter, with the names that Django's own template expects."""

    display: str | Promise
    query_string: str
    selected: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter beside the list, with the names that Django's own template expects."""

    title: str
    choices: list[Choice]

    @classmethod
    def of(
        cls,
        query: ConnectionQuery,
        name: str,
        title: str,
        values: Mapping[str, str | Promise],
    ) -> Self:
        """Return the filter of a parameter of the query, by the names of its values."""
        chosen = getattr(query, name)
        return cls(
            title,
            [
                Choice(display, query.url(**{name: value}), value == chosen)
                for value, display in ({"": _("All")} | dict(values)).items()
            ],
        )


@dataclass(frozen=True, slots=True)
class Table:
    """One page of the list."""

    rows: list[Row]
    total: int
    pages: Pages
    filters: list[Filter]
    caveats: list[str]

    @classmethod
    def of(
        cls, query: ConnectionQuery, survey: cluster.Survey[cluster.ConnectionList]
    ) -> Self:
        """Return the page that a survey has found."""
        nodes = {*survey.nodes, *survey.unresponsive} | {query.node} - {""}
        return cls(
            rows=[Row.of(connection) for connection in survey.result.rows],
            total=survey.result.total,
            pages=Pages.of(query, survey.result),
            filters=filters(query, sorted(nodes)),
            caveats=caveats(survey),
        )

    @property
    def formatted_total(self) -> str:
        return format_number(self.total)


def filters(query: ConnectionQuery, nodes: list[str]) -> list[Filter]:
    """Return the filters; topics come only from links of other pages, none is suggested."""
    topic = {query.topic: query.topic}
    return [
        *([Filter.of(query, "topic", _("topic"), topic)] if query.topic else []),
        Filter.of(query, "transport", _("transport"), TRANSPORTS),
        Filter.of(query, "state", _("state"), STATES),
        Filter.of(query, "node", _("node"), {node: node for node in nodes}),
    ]


def position(connection: cluster.ConnectionRow) -> str:
    """Return a connection's position in the list, for the page after or before it."""
    return format_position(connection.since, connection.id)


def anchor(query: ConnectionQuery, rows: list[cluster.ConnectionRow]) -> str:
    """Return the URL that keeps the rows of the newest page, or "" if they stay anyway."""
    if query.order != "newest" or query.after or query.before or not rows:
        return ""
    just_newer = nextafter(rows[0].since, inf)
    return query.url(after=format_position(just_newer, ""))
