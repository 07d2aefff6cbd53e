"""Events: listed, searched and published; never changed, since clients may have them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from echo.admin.annotated import AnnotatedAdmin
from echo.admin.events import views
from echo.admin.formats import format_time
from echo.admin.survey import at_least, survey
from echo.feed import cluster
from echo.models import Event, Topic
from echo.protocol import EVENT_ID

SHORT_CHARACTERS = 72
# Indenting deeply nested data could turn 64 KiB into megabytes.
MAX_PRETTY_CHARACTERS = 256 * 1024
FILTERED_TOPICS = 20
# Django's empty_value is for lists only: the page of one event would say "None".
NO_VALUE = "–"


class LogPaginator(Paginator):
    """Pages of the log; counts all events from the topics' own counts."""

    @cached_property
    def count(self) -> int:
        events: Any = self.object_list
        topics = Topic.objects.all()
        if events.query.where == without_stats(Event.objects.all()).query.where:
            topics = topics.exclude(name=cluster.STATS_TOPIC)
        elif events.query.where:
            return super().count
        return topics.aggregate(kept=Sum("kept"))["kept"] or 0


def without_stats(events: QuerySet[Event]) -> QuerySet[Event]:
    """Return all events but those of the nodes' graph, one a second."""
    return events.exclude(topic=cluster.STATS_TOPIC)


def pretty(data: str) -> str:
    """Return JSON indented; unchanged if too deep for Python or too long indented."""
    try:
        text = json.dumps(json.loads(data), ensure_ascii=False, indent=2)
    except RecursionError:
        return data
    return text if len(text) <= MAX_PRETTY_CHARACTERS else data


class TopicFilter(admin.SimpleListFilter):
    """The latest topics, read from their own table instead of the events.

    With no topic chosen the graph's events are left out: while somebody watches the
    graph, the list would show little else.
    """

    title = _("topic")
    parameter_name = "topic"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name)
        names = [*([chosen] if chosen else []), *views.latest_topics(FILTERED_TOPICS)]
        return [(name, name) for name in dict.fromkeys(names)]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Event]
    ) -> QuerySet[Event]:
        chosen = self.value()
        return queryset.filter(topic=chosen) if chosen else without_stats(queryset)

    def choices(self, changelist: Any) -> Iterator[Any]:
        whole, *topics = super().choices(changelist)
        text = _("All but %(topic)s") % {"topic": cluster.STATS_TOPIC}
        yield from [{**whole, "display": text}, *topics]


@admin.register(Event)
class EventAdmin(AnnotatedAdmin):
    """The log, newest first; adding an event publishes it."""

    list_display = (
        "number",
        "topic",
        "short_data",
        "source",
        "author",
        "deliveries",
        "sent",
    )
    list_filter = ("source", "sent_at", TopicFilter)
    search_fields = ("topic", "data", "author")
    search_help_text = _(
        "Searches topic, data and author, or finds an event by its id."
    )
    sortable_by = ("number", "sent")
    # Counting a large log for "of 1,000,000" would take longer than showing the page.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_max_show_all = 100
    paginator = LogPaginator
    fields = (
        "identity",
        "previous_event",
        "topic",
        "whole_data",
        "size",
        "source",
        "author",
        "key",
        "sent",
        "deliveries",
    )

    class Media:
        css = {"all": ["echo/admin/events.css"]}

    @admin.display(description=_("data"))
    def short_data(self, event: Event) -> str:
        is_short = len(event.data) <= SHORT_CHARACTERS
        return event.data if is_short else f"{event.data[: SHORT_CHARACTERS - 1]}…"

    @admin.display(description=_("deliveries"))
    def deliveries(self, event: Event) -> int | str:
        found: int | str = event.deliveries  # type: ignore[attr-defined]
        return found

    @admin.display(description=_("sent at"), ordering="sent_at")
    def sent(self, event: Event) -> str:
        return format_time(event.sent_at)

    @admin.display(description=_("publish"))
    def again(self, event: Event) -> str:
        url = reverse("admin:echo_event_add", query={"again": event.number})
        return format_html('<a href="{}">{}</a>', url, _("Publish again"))

    @admin.display(description=_("id"))
    def identity(self, event: Event) -> str:
        return str(views.event_id(event))

    @admin.display(description=_("previous on its topic"))
    def previous_event(self, event: Event) -> str:
        if event.previous is None:
            return NO_VALUE
        url = reverse("admin:echo_event_change", args=[event.previous])
        return format_html('<a href="{}">{}</a>', url, event.previous)

    @admin.display(description=_("data"))
    def whole_data(self, event: Event) -> str:
        return format_html('<pre class="wire">{}</pre>', pretty(event.data))

    @admin.display(description=_("size"))
    def size(self, event: Event) -> str:
        return _("%(bytes)s bytes") % {"bytes": f"{len(event.data.encode()):,}"}

    def get_urls(self) -> list[URLPattern]:
        def own(route: str, view: Any) -> URLPattern:
            name = f"echo_event_{view.__name__}"
            return path(route, self.admin_site.admin_view(view), name=name)

        return [
            own("readers/", views.readers),
            own("preview/", views.preview),
            own("<int:number>/receipt/", views.receipt),
            own("<int:number>/receipt/now/", views.receipt_now),
            *super().get_urls(),
        ]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Publish instead of adding a row."""
        return views.publish(request)

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        may_publish = self.has_add_permission(request)
        return (*self.list_display, "again") if may_publish else self.list_display

    def annotate(self, request: HttpRequest, rows: Sequence[Event]) -> None:
        """Set ``deliveries`` on each event, as far as the nodes remember them."""
        counted = survey(cluster.CountDeliveries(tuple(event.number for event in rows)))
        self.warn_incomplete(request, counted)
        known = counted.result
        for event in rows:
            event.deliveries = (  # type: ignore[attr-defined]
                at_least(known[event.number], counted)
                if event.number in known
                else NO_VALUE
            )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        if match := EVENT_ID.fullmatch(search_term.strip()):
            return queryset.filter(number=int(match[2])), False
        return super().get_search_results(request, queryset, search_term)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
