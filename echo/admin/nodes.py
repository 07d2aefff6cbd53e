"""The nodes: a live graph of what the feed does, and a table of the server processes."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from asgiref.sync import async_to_sync
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from echo import feed
from echo.admin.connections.query import TRANSPORTS
from echo.admin.readonly import ReadOnlyAdmin
from echo.admin.survey import isolation_text
from echo.feed import cluster
from echo.models import Event, Node
from echo.protocol import EventId

# What the graph shows; WINDOW_SECONDS in static/echo/admin/timeline.js is the same.
WINDOW_SECONDS = 600
# A node reports its head once a second, so that a report may be this old.
MAX_REPORT_AGE_SECONDS = 2
# Receipts and delays compare the clocks of two nodes: a larger difference makes them wrong.
MAX_CLOCK_DIFFERENCE_SECONDS = 0.5
# The breakdown has a narrow column.
SHORT_TRANSPORTS = TRANSPORTS | {"sse": "SSE"}

# Each chart's name, its unit, and its lines: what a line shows, and how it is labelled.
CHARTS = (
    (_("Events"), _("per second"), {"events_per_second": ""}),
    (_("Deliveries"), _("per second"), {"deliveries_per_second": ""}),
    (_("Connections"), _("now"), {"connections": ""}),
    (
        _("Delivery delay"),
        _("ms"),
        {"delay_p50_ms": "p50", "delay_p99_ms": "p99"},
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A node as it describes itself, and what a row derives from that."""

    node: cluster.NodeState
    started_at: datetime
    transports: dict[Any, int]
    # None if the node's log is another one, or if the log is down.
    behind: int | None
    clock: str

    @classmethod
    def of(
        cls, node: cluster.NodeState, log: EventId | None, max_unreported: float
    ) -> Self:
        """Return a node's row; it may be up to ``max_unreported`` events further."""
        behind = events_behind(node.head, log)
        return cls(
            node,
            started_at=datetime.fromtimestamp(node.started_at, UTC),
            transports={
                SHORT_TRANSPORTS.get(name, name): count
                for name, count in sorted(node.transports.items())
            },
            behind=behind if behind is None or behind > max_unreported else 0,
            clock=clock_text(node.clock_ahead_seconds),
        )


@admin.register(Node)
class NodeAdmin(ReadOnlyAdmin):
    """One page: the live graph, and the nodes as they describe themselves."""

    def get_urls(self) -> list[URLPattern]:
        """Return only the page's URL: a node has no row in the database to show."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="echo_node_changelist")]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the page, or only the table that the page replaces by itself."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        site = async_to_sync(feed.list_nodes)()
        context = {"opts": self.opts, **table_context(site), **(extra_context or {})}
        if "X-Fragment" in request.headers:
            return TemplateResponse(request, "admin/echo/node/table.html", context)
        context |= {
            **self.admin_site.each_context(request),
            "title": _("Nodes"),
            "charts": CHARTS,
            "start": graph_start(site.head),
        }
        return TemplateResponse(request, "admin/echo/node/change_list.html", context)


def graph_start(log: EventId | None) -> dict[str, Any]:
    """Return what the graph's script starts with."""
    return {
        "topic": cluster.STATS_TOPIC,
        "since": graph_cursor(log),
        "now": int(time.time()),
        "time_zone": timezone.get_current_timezone_name(),
    }


def graph_cursor(log: EventId | None) -> str | None:
    """Return the id before the figures of the graph's ten minutes; the head if none."""
    if log is None:
        return None
    recent = Event.objects.filter(
        topic=cluster.STATS_TOPIC,
        sent_at__gt=timezone.now() - timedelta(seconds=WINDOW_SECONDS),
    ).values_list("number", flat=True)
    numbers = list(recent.order_by("-number")[:WINDOW_SECONDS])
    return str(EventId(log.epoch, min(numbers) - 1) if numbers else log)


def table_context(site: cluster.NodeList) -> dict[str, Any]:
    """Return what the table shows: the nodes, the oldest first, and warnings."""
    own = site.nodes[0]
    nodes = sorted(site.nodes, key=lambda node: node.started_at)
    # The graph's own events, one a second, come on top of the measured rate.
    rate = 1 + max(node.events_per_second for node in nodes)
    rows = [Row.of(node, site.head, rate * MAX_REPORT_AGE_SECONDS) for node in nodes]
    return {
        "rows": rows,
        "connections": sum(node.connections for node in nodes),
        "is_layer_down": own.channel_layer == "down",
        "isolation": isolation_text() if site.is_isolated else "",
        "clocks_differ": any(row.clock for row in rows),
    }


def clock_text(ahead_seconds: float) -> str:
    """Return how far a node's clock is from this node's; "" if they agree."""
    if abs(ahead_seconds) <= MAX_CLOCK_DIFFERENCE_SECONDS:
        return ""
    if ahead_seconds > 0:
        text = gettext("clock %(seconds)s s ahead")
    else:
        text = gettext("clock %(seconds)s s behind")
    return text % {"seconds": number_format(abs(ahead_seconds), 1, force_grouping=True)}


def events_behind(head: str, log: EventId | None) -> int | None:
    """Return how many events of the log are after a node's head; None if unknown."""
    if log is None:
        return None
    here = EventId.parse(head)
    return max(0, log.number - here.number) if here.epoch == log.epoch else None
