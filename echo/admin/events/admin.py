"""Events: published and looked at, and never changed: a changed event would be another one."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from echo import feed
from echo.admin.annotated import NotedAdmin
from echo.admin.events.views import Publishing, event_id, exact_time, latest_topics
from echo.admin.survey import ask, at_least
from echo.models import Event, Topic
from echo.protocol import EVENT_ID

SHORT_CHARACTERS = 72
# Indenting what is nested very deep could make megabytes of 64 KiB.
MAX_PRETTY_CHARACTERS = 256 * 1024
FILTERED_TOPICS = 20
# Django's empty_value holds in lists only: a page of one event would say "None".
NOTHING = "–"


class LogPaginator(Paginator):
    """Pages of the log, which counts a whole log by what its topics keep."""

    @cached_property
    def count(self) -> int:
        events: Any = self.object_list
        topics = Topic.objects.all()
        if events.query.where == without_figures(Event.objects.all()).query.where:
            topics = topics.exclude(name=feed.STATS_TOPIC)
        elif events.query.where:
            return super().count
        return topics.aggregate(kept=Sum("kept"))["kept"] or 0


def without_figures(events: QuerySet[Event]) -> QuerySet[Event]:
    """All events but the one a second that the graph of the nodes is drawn from."""
    return events.exclude(topic=feed.STATS_TOPIC)


def pretty(data: str) -> str:
    """An event's data as people read it, or as it is: too deep for Python, or too long."""
    try:
        text = json.dumps(json.loads(data), ensure_ascii=False, indent=2)
    except RecursionError:
        return data
    return text if len(text) <= MAX_PRETTY_CHARACTERS else data


class TopicFilter(admin.SimpleListFilter):
    """The topics of late, from their own table: the log is not searched for them.

    Nothing chosen leaves the figures out, or a watched site would list nothing else.
    """

    title = _("topic")
    parameter_name = "topic"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name)
        names = [*([chosen] if chosen else []), *latest_topics(FILTERED_TOPICS)]
        return [(name, name) for name in dict.fromkeys(names)]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Event]
    ) -> QuerySet[Event]:
        chosen = self.value()
        return queryset.filter(topic=chosen) if chosen else without_figures(queryset)

    def choices(self, changelist: Any) -> Iterator[Any]:
        whole, *topics = super().choices(changelist)
        words = _("All but %(topic)s") % {"topic": feed.STATS_TOPIC}
        yield from [{**whole, "display": words}, *topics]


@admin.register(Event)
class EventAdmin(Publishing, NotedAdmin):
    """The log, newest first; adding to it is publishing."""

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
    search_help_text = _("Looks into topic, data and author; or takes an event's id.")
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
        return exact_time(event.sent_at)

    @admin.display(description=_("publish"))
    def again(self, event: Event) -> str:
        url = reverse("admin:echo_event_add", query={"again": event.number})
        return format_html('<a href="{}">{}</a>', url, _("Publish again"))

    @admin.display(description=_("id"))
    def identity(self, event: Event) -> str:
        return str(event_id(event))

    @admin.display(description=_("previous on its topic"))
    def previous_event(self, event: Event) -> str:
        if event.previous is None:
            return NOTHING
        url = reverse("admin:echo_event_change", args=[event.previous])
        return format_html('<a href="{}">{}</a>', url, event.previous)

    @admin.display(description=_("data"))
    def whole_data(self, event: Event) -> str:
        return format_html('<pre class="wire">{}</pre>', pretty(event.data))

    @admin.display(description=_("size"))
    def size(self, event: Event) -> str:
        return _("%(bytes)s bytes") % {"bytes": f"{len(event.data.encode()):,}"}

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        may_publish = self.has_add_permission(request)
        return (*self.list_display, "again") if may_publish else self.list_display

    def note(self, request: HttpRequest, rows: Sequence[Event]) -> None:
        """Gives each event its ``deliveries``, as far as the nodes remember them."""
        answer = ask(feed.CountDeliveries(tuple(event.number for event in rows)))
        self.tell_unheard(request, answer)
        known = answer.result
        for event in rows:
            event.deliveries = (  # type: ignore[attr-defined]
                at_least(known[event.number], answer)
                if event.number in known
                else NOTHING
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
