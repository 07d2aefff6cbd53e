"""Nodes: the server processes that are alive, and what the feed does in each second."""

import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

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
from echo.admin.readonly import ReadOnly
from echo.admin.survey import this_process_only
from echo.models import Event, Node
from echo.protocol import EventId

# What the graph shows; WINDOW_SECONDS in static/echo/admin/graph.js is the same.
WINDOW_SECONDS = 600
# A node tells how far it is once a second: so old, and a little more, its word may be.
PULSE_SECONDS = 2
# Clocks that differ by more make receipts and delays wrong: they compare two nodes' times.
CLOCK_SECONDS = 0.5
# The breakdown has a narrow column.
SHORT_TRANSPORTS = TRANSPORTS | {"sse": "SSE"}

# The charts: each with its name, the unit, and its lines' figures and names.
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


@admin.register(Node)
class NodeAdmin(ReadOnly):
    """One page: the live graph, and the nodes as they tell of themselves."""

    def get_urls(self) -> list[URLPattern]:
        """Only the page: a node has no row that could be looked at."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="echo_node_changelist")]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page; or the table alone, for the page that refreshes it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        site = async_to_sync(feed.list_nodes)()
        context = {"opts": self.opts, **table(site), **(extra_context or {})}
        if "X-Fragment" in request.headers:
            return TemplateResponse(request, "admin/echo/node/table.html", context)
        context |= {
            **self.admin_site.each_context(request),
            "title": _("Nodes"),
            "charts": CHARTS,
            "start": start(site.log),
        }
        return TemplateResponse(request, "admin/echo/node/change_list.html", context)


def start(log: EventId | None) -> dict[str, Any]:
    """What the graph begins with."""
    return {
        "topic": feed.STATS_TOPIC,
        "since": replayed_from(log),
        "now": int(time.time()),
        "time_zone": timezone.get_current_timezone_name(),
    }


def replayed_from(log: EventId | None) -> str | None:
    """The id before the first figures of the graph's ten minutes; the log's head for none."""
    if log is None:
        return None
    recent = Event.objects.filter(
        topic=feed.STATS_TOPIC,
        sent_at__gt=timezone.now() - timedelta(seconds=WINDOW_SECONDS),
    ).values_list("number", flat=True)
    numbers = list(recent.order_by("-number")[:WINDOW_SECONDS])
    return str(EventId(log.epoch, min(numbers) - 1) if numbers else log)


def table(site: feed.NodeList) -> dict[str, Any]:
    """What the table shows: the nodes, the oldest first; and whether others are unheard."""
    own = site.nodes[0]
    nodes = sorted(site.nodes, key=lambda node: node.started_at)
    rate = max(node.events_per_second for node in nodes)
    unheard = PULSE_SECONDS * (rate + 1)  # the graph's own figures are one a second
    return {
        "nodes": [row(node, site.log, unheard) for node in nodes],
        "connections": sum(node.connections for node in nodes),
        "others_are_unheard": own.channel_layer == "down",
        "isolation": this_process_only() if site.is_isolated else "",
        "clocks_differ": any(clock(node.clock_ahead_seconds) for node in nodes),
    }


def row(node: feed.NodeState, log: EventId | None, unheard: float) -> dict[str, Any]:
    """A node as its row shows it; so many events it may have seen since it last told."""
    left = behind(node.head, log)
    return asdict(node) | {
        "started_at": datetime.fromtimestamp(node.started_at, UTC),
        "transports": {
            SHORT_TRANSPORTS.get(name, name): count
            for name, count in sorted(node.transports.items())
        },
        "behind": left if left is None or left > unheard else 0,
        "clock": clock(node.clock_ahead_seconds),
    }


def clock(ahead_seconds: float) -> str:
    """A node's clock against this one's, in words; empty while the two agree."""
    if abs(ahead_seconds) <= CLOCK_SECONDS:
        return ""
    if ahead_seconds > 0:
        text = gettext("clock %(seconds)s s ahead")
    else:
        text = gettext("clock %(seconds)s s behind")
    return text % {"seconds": number_format(abs(ahead_seconds), 1, force_grouping=True)}


def behind(head: str, log: EventId | None) -> int | None:
    """How many events a node has yet to see; None where its log is another one, or down."""
    if log is None:
        return None
    here = EventId.parse(head)
    return max(0, log.number - here.number) if here.epoch == log.epoch else None
