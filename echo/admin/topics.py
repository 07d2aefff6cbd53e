"""Topics: listed with their readers; only their retention can be changed."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from echo import feed
from echo.admin.annotated import AnnotatedAdmin
from echo.admin.formats import format_time
from echo.admin.survey import at_least, count_readers
from echo.models import Event, Topic


@admin.register(Topic)
class TopicAdmin(AnnotatedAdmin):
    """All topics; one is created by its first event and deleted by retention."""

    list_display = (
        "name",
        "readers",
        "last_event",
        "last_sent_at",
        "kept",
        "retention",
    )
    search_fields = ("name",)
    sortable_by = ("name", "last_event", "kept")
    list_max_show_all = 100
    readonly_fields = (
        "name",
        "readers",
        "last_event",
        "last_sent_at",
        "kept",
        "pruned_number",
    )
    fields = (*readonly_fields, "retention_seconds", "retention_events")

    class Media:
        css = {"all": ["echo/admin/events.css"]}

    @admin.display(description=_("readers"))
    def readers(self, topic: Topic) -> int | str:
        found: int | str = topic.readers  # type: ignore[attr-defined]
        return found

    @admin.display(description=_("last event"), ordering="last_number")
    def last_event(self, topic: Topic) -> str:
        """Return its number, linked while the event is kept and the user may view it."""
        if not topic.links_to_event:  # type: ignore[attr-defined]
            return str(topic.last_number)
        url = reverse("admin:echo_event_change", args=[topic.last_number])
        return format_html('<a href="{}">{}</a>', url, topic.last_number)

    @admin.display(description=_("last sent at"))
    def last_sent_at(self, topic: Topic) -> str:
        event: Event | None = topic.last_event  # type: ignore[attr-defined]
        return format_time(event.sent_at) if event else "–"

    @admin.display(description=_("retention"))
    def retention(self, topic: Topic) -> str:
        """Return the topic's own retention, or the site's."""
        seconds, events = feed.retention_of(topic)
        return _("%(seconds)s s, %(events)s events") % {
            "seconds": f"{seconds:,}",
            "events": f"{events:,}",
        }

    @admin.display(description=_("publish"))
    def publish(self, topic: Topic) -> str:
        url = reverse("admin:echo_event_add", query={"topic": topic.name})
        return format_html('<a href="{}">{}</a>', url, _("Publish to this topic"))

    @admin.display(description=_("connections"))
    def connections(self, topic: Topic) -> str:
        url = reverse("admin:echo_connection_changelist", query={"topic": topic.name})
        return format_html('<a href="{}">{}</a>', url, _("Live connections"))

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        links = {"publish": "echo.add_event", "connections": "echo.view_connection"}
        allowed = [name for name in links if request.user.has_perm(links[name])]
        return (*self.list_display, *allowed)

    def annotate(self, request: HttpRequest, rows: Sequence[Topic]) -> None:
        """Set on each topic its ``readers`` now, and its ``last_event`` if that is kept."""
        counted = count_readers([topic.name for topic in rows])
        self.warn_incomplete(request, counted)
        events = Event.objects.defer("data").in_bulk([t.last_number for t in rows])
        may_view = request.user.has_perm("echo.view_event")
        for topic in rows:
            event = events.get(topic.last_number)
            topic.readers = at_least(counted.result[topic.name], counted)  # type: ignore[attr-defined]
            topic.last_event = event  # type: ignore[attr-defined]
            topic.links_to_event = event is not None and may_view  # type: ignore[attr-defined]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
