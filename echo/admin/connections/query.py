"""Parses and builds the URL of the list of live connections: filters, order, page."""

import re
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Self

from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from echo.feed import cluster
from echo.protocol import TOPIC

PAGE_SIZE = 100
TRANSPORTS: dict[str, str | Promise] = {
    "websocket": "WebSocket",
    "sse": "Server-Sent Events",
    "longpoll": gettext_lazy("Long poll"),
    "shortpoll": gettext_lazy("Short poll"),
}
STATES: dict[str, str | Promise] = {
    "live": gettext_lazy("live"),
    "catching_up": gettext_lazy("catching up"),
}
FILTERS = ("q", "topic", "transport", "state", "node")
NODE = re.compile(r"[\w.-]{1,60}")
# The position of a row in the list: when its connection was opened, and its id.
POSITION = re.compile(r"(\d{1,12}(?:\.\d{1,20})?),([\w-]{0,40})", re.ASCII)


class InvalidQuery(ValueError):
    """A query string that names no list; says what was expected and what it got."""


@dataclass(frozen=True, slots=True)
class ConnectionQuery:
    """Filters, order and page; the fields are named as the parameters are."""

    q: str = ""
    topic: str = ""
    transport: str = ""
    state: str = ""
    node: str = ""
    order: str = ""
    after: str = ""
    before: str = ""

    @classmethod
    def parse(cls, given: QueryDict) -> Self:
        """Return the query; raise InvalidQuery for any mistake in it.

        An action on "all that match" must not widen because of a misspelt filter.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(given.keys() - set(known)):
            raise InvalidQuery(
                _("unknown parameter %(got)r: expected %(expected)s")
                % {"got": unknown[0][:60], "expected": ", ".join(known)}
            )
        query = cls(**{name: str(given.get(name, "")) for name in known})
        check_form("topic", query.topic, TOPIC, _("a topic, such as news.eu"))
        check_choice("transport", query.transport, TRANSPORTS)
        check_choice("state", query.state, STATES)
        check_choice("order", query.order, ["newest"])
        check_form("node", query.node, NODE, _("the name of a node"))
        position = _("seconds and an id, such as 1795174271.25,Zm9vYmFy")
        check_form("after", query.after, POSITION, position)
        check_form("before", query.before, POSITION, position)
        return query

    @property
    def filters(self) -> dict[str, str]:
        """The filters that are set, by name."""
        return {name: value for name in FILTERS if (value := getattr(self, name))}

    @property
    def hidden_fields(self) -> dict[str, str]:
        """The parameters that the search form sends along unchanged, by name."""
        names = (*FILTERS[1:], "order")
        return {name: value for name in names if (value := getattr(self, name))}

    @property
    def connections(self) -> cluster.ListConnections:
        """The question for all connections that match the filters, on whichever page."""
        return cluster.ListConnections(
            topic=self.topic,
            transport=self.transport,
            state=self.state,
            node=self.node,
            search=self.q,
        )

    @property
    def page(self) -> cluster.ListConnections:
        """The question for this page of the list."""
        return replace(
            self.connections,
            newest_first=self.order == "newest",
            after=parse_position(self.after),
            before=parse_position(self.before),
            limit=PAGE_SIZE,
        )

    def url(self, **changes: str) -> str:
        """Return the relative URL of this list with changes, on its first page by default."""
        changed = replace(self, **({"after": "", "before": ""} | changes))
        given = {field.name: getattr(changed, field.name) for field in fields(changed)}
        return "?" + urlencode({name: value for name, value in given.items() if value})

    @property
    def unfiltered_url(self) -> str:
        """The URL of all connections, in the same order."""
        return ConnectionQuery(order=self.order).url()

    @property
    def reversed_url(self) -> str:
        """The URL of the same list in the opposite order."""
        return self.url(order="" if self.order else "newest")


def format_position(since: float, identity: str) -> str:
    """Return the position of a row, for the URL of the page after or before it."""
    return f"{since!r},{identity}"


def parse_position(text: str) -> tuple[float, str] | None:
    """Return the two parts of a position, or None if empty or malformed."""
    if not (match := POSITION.fullmatch(text)):
        return None
    return float(match[1]), match[2]


def check_choice(name: str, got: str, expected: Collection[str]) -> None:
    """Raise InvalidQuery for a value that is neither empty nor one of the expected."""
    if got and got not in expected:
        raise InvalidQuery(
            _("%(name)s: expected %(expected)s, got %(got)r")
            % {"name": name, "expected": ", ".join(expected), "got": got[:60]}
        )


def check_form(name: str, got: str, form: re.Pattern[str], expected: str) -> None:
    """Raise InvalidQuery for a value that is neither empty nor of the form."""
    if got and not form.fullmatch(got):
        raise InvalidQuery(
            _("%(name)s: expected %(expected)s, got %(got)r")
            % {"name": name, "expected": expected, "got": got[:60]}
        )
