"""How an answer of the nodes is shown as a list of connections: rows, filters, numbers."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from echo.admin.connections.query import STATES, TRANSPORTS, Listing
from echo.admin.survey import unheard
from echo.feed import ConnectionList, ConnectionRow, Survey

# Topics of one connection that a row names; the others are in its title.
SHOWN_TOPICS = 4


def shown(listing: Listing, answer: Survey[ConnectionList]) -> dict[str, Any]:
    """An answer of the nodes as the templates want it."""
    nodes = sorted({*answer.nodes, *answer.unresponsive} | {listing.node} - {""})
    pages = listing.pages(answer.result)
    return {
        **pages,
        "range": f"{number(pages['first'])}–{number(pages['last'])}",
        "total": answer.result.total,
        "shown_total": number(answer.result.total),
        "rows": [row(each) for each in answer.result.rows],
        "nodes": nodes,
        "unheard": unheard(answer),
        "filters": [
            *([one_topic(listing)] if listing.topic else []),
            choices(listing, "transport", _("transport"), TRANSPORTS),
            choices(listing, "state", _("state"), STATES),
            choices(listing, "node", _("node"), {node: node for node in nodes}),
        ],
    }


def row(told: ConnectionRow) -> dict[str, Any]:
    """A connection as a row shows it."""
    topics, since = told.topics, datetime.fromtimestamp(told.since, UTC)
    is_live = told.state == "live"
    return asdict(told) | {
        "transport_name": TRANSPORTS.get(told.transport, told.transport),
        "since": since,
        "lasted": lasted((timezone.now() - since).total_seconds()),
        "shown_topics": topics[:SHOWN_TOPICS],
        "more_topics": len(topics) - SHOWN_TOPICS,
        "all_topics": " ".join(topics),
        "behind": number(told.behind),
        "queued": number(told.queued),
        "state": "live" if is_live else "catching_up",
        "state_name": STATES["live" if is_live else "catching_up"],
    }


def one_topic(listing: Listing) -> dict[str, Any]:
    """The topic that links from elsewhere ask for; others are not suggested."""
    return choices(listing, "topic", _("topic"), {listing.topic: listing.topic})


def choices(
    listing: Listing, name: str, title: str, values: dict[str, Any]
) -> dict[str, Any]:
    """One filter, in the form that Django's own template for filters takes."""
    chosen = getattr(listing, name)
    options = {"": _("All")} | values
    return {
        "title": title,
        "choices": [
            {
                "selected": value == chosen,
                "query_string": listing.address(**{name: value}),
                "display": display,
            }
            for value, display in options.items()
        ],
    }


def lasted(seconds: float) -> str:
    """A length of time in its largest unit, and the next one where that is coarse."""
    minutes, seconds = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return _("%(days)d d %(hours)d h") % {"days": days, "hours": hours}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    if minutes:
        return _("%(minutes)d min") % {"minutes": minutes}
    return _("%(seconds)d s") % {"seconds": seconds}


def number(value: int) -> str:
    """A number with its thousands set apart."""
    return number_format(value, force_grouping=True)
