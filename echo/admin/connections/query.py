"""Which live connections an operator looks at, as the address of the page says it."""

import re
from dataclasses import dataclass, fields, replace
from math import inf, nextafter
from typing import Any, Self

from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from echo import feed
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
NODE = re.compile(r"[\w.-]{1,60}")
# Where a page begins: when the connection beside it was opened, and its id.
POINT = re.compile(r"(\d{1,12}(?:\.\d{1,20})?),([\w-]{0,40})", re.ASCII)


class BadListing(ValueError):
    """An address that names no list: says what was expected, and what it got."""


@dataclass(frozen=True, slots=True)
class Listing:
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
        """The list that an address names; a mistake in it is never another list.

        An action on "all that match" must not widen because of a misspelt filter.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(given.keys() - set(known)):
            raise BadListing(
                _("unknown parameter %(got)r: expected %(expected)s")
                % {"got": unknown[0][:60], "expected": ", ".join(known)}
            )
        listing = cls(**{name: str(given.get(name, "")) for name in known})
        expect_form("topic", listing.topic, TOPIC, _("a topic, such as news.eu"))
        expect("transport", listing.transport, TRANSPORTS)
        expect("state", listing.state, STATES)
        expect("order", listing.order, ["newest"])
        expect_form("node", listing.node, NODE, _("the name of a node"))
        point = _("seconds and an id, such as 1795174271.25,Zm9vYmFy")
        expect_form("after", listing.after, POINT, point)
        expect_form("before", listing.before, POINT, point)
        return listing

    @property
    def filters(self) -> dict[str, str]:
        """The filters that are set, by name."""
        names = ("q", "topic", "transport", "state", "node")
        return {name: value for name in names if (value := getattr(self, name))}

    @property
    def where(self) -> feed.ListConnections:
        """All the connections that match the filters, on whichever page."""
        return feed.ListConnections(
            topic=self.topic,
            transport=self.transport,
            state=self.state,
            node=self.node,
            search=self.q,
        )

    @property
    def census(self) -> feed.ListConnections:
        """The question whose answer is this page."""
        return replace(
            self.where,
            newest_first=self.order == "newest",
            after=parse_point(self.after),
            before=parse_point(self.before),
            limit=PAGE_SIZE,
        )

    def address(self, **changes: str) -> str:
        """This list with other parameters, as a link; on its first page unless named."""
        changed = replace(self, **({"after": "", "before": ""} | changes))
        given = {field.name: getattr(changed, field.name) for field in fields(changed)}
        return "?" + urlencode({name: value for name, value in given.items() if value})

    @property
    def unfiltered(self) -> str:
        """The link to everybody, in the same order."""
        return Listing(order=self.order).address()

    @property
    def other_order(self) -> str:
        """The link to the same list, from its other end."""
        return self.address(order="" if self.order else "newest")

    @property
    def kept(self) -> dict[str, str]:
        """What a new search does not change."""
        names = ("topic", "transport", "state", "node", "order")
        return {name: value for name in names if (value := getattr(self, name))}

    def pages(self, answer: feed.ConnectionList) -> dict[str, Any]:
        """Where the answer's page stands among all, and the links to those beside it."""
        rows, first = answer.rows, answer.preceding
        last = first + len(rows)
        is_first = not (first or self.after or self.before)
        has_next = rows and last < answer.total
        return {
            "first": first + 1,
            "last": last,
            "first_page": "" if is_first else self.address(),
            "previous_page": self.address(before=point(rows[0]))
            if rows and first
            else "",
            "next_page": self.address(after=point(rows[-1])) if has_next else "",
            "anchor": self.anchor(rows),
        }

    def anchor(self, rows: list[feed.ConnectionRow]) -> str:
        """The same rows under an address from which newer connections do not push them."""
        if self.order != "newest" or self.after or self.before or not rows:
            return ""
        return self.address(after=f"{nextafter(rows[0].since, inf)!r},")


def point(row: feed.ConnectionRow) -> str:
    """Where a row stands, for the page after or before it."""
    return f"{row.since!r},{row.id}"


def parse_point(text: str) -> tuple[float, str] | None:
    """The two parts of a point; None for none."""
    if not (match := POINT.fullmatch(text)):
        return None
    return float(match[1]), match[2]


def expect(name: str, got: str, expected: Any) -> None:
    """Raises BadListing for a value that is neither empty nor one of the expected."""
    if got and got not in expected:
        raise BadListing(
            _("%(name)s: expected %(expected)s, got %(got)r")
            % {"name": name, "expected": ", ".join(expected), "got": got[:60]}
        )


def expect_form(name: str, got: str, form: re.Pattern[str], expected: str) -> None:
    """Raises BadListing for a value that is neither empty nor of the form."""
    if got and not form.fullmatch(got):
        raise BadListing(
            _("%(name)s: expected %(expected)s, got %(got)r")
            % {"name": name, "expected": expected, "got": got[:60]}
        )
