"""Live connections of all nodes: looked at, ended, and tried with a test event.

Nothing of them is stored: each page is one question to the nodes, which answer with a page.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from echo import feed
from echo.admin.connections.closing import (
    ALL,
    RECONNECTION,
    Ending,
    ReasonForm,
    disconnection,
)
from echo.admin.connections.query import BadListing, Listing
from echo.admin.connections.selection import Selection
from echo.admin.connections.table import number, row, shown
from echo.admin.connections.testing import TooManyTopics, plan
from echo.admin.readonly import ReadOnly
from echo.admin.survey import ask, unheard
from echo.models import Connection, Event
from echo.protocol import FeedError

# Connections that a page asking for confirmation names.
SHOWN_SELECTED = 10


@admin.register(Connection)
class ConnectionAdmin(ReadOnly):
    """A list like Django's own, of rows that no table holds."""

    actions = ("disconnect", "ask_to_reconnect", "send_test_event")

    # --- who may -----------------------------------------------------------------------

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("echo.end_connection")

    def has_test_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("echo.add_event")

    # --- pages -------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Only these two: Django's other pages of a model would read its table."""
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="echo_connection_changelist"),
            path(
                "<path:object_id>/change/",
                view(self.change_view),
                name="echo_connection_change",
            ),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Where the log of actions links to: the list, with this connection if it lives."""
        listing = Listing() if object_id == ALL else Listing(q=unquote(object_id))
        return HttpResponseRedirect(changelist() + listing.address())

    def changelist_view(
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        """The list; only its rows and pages when the page asks to refresh itself."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            listing = Listing.parse(request.GET)
        except BadListing as error:
            context = self.context(request, Listing(), problem=str(error))
            return self.page(request, "change_list", context, status=400)
        if request.method == "POST":
            answer = self.act(request, listing)
            return answer or HttpResponseRedirect(request.get_full_path())
        context = self.context(request, listing) | shown(listing, ask(listing.census))
        is_refresh = "X-Fragment" in request.headers
        return self.page(request, "refresh" if is_refresh else "change_list", context)

    def context(
        self, request: HttpRequest, listing: Listing, **more: Any
    ) -> dict[str, Any]:
        """What every page of connections needs."""
        return {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "listing": listing,
            "action_choices": self.get_action_choices(request),
            "has_actions": bool(self.get_actions(request)),
            "checkbox_name": ACTION_CHECKBOX_NAME,
            **more,
        }

    def page(
        self, request: HttpRequest, name: str, context: dict[str, Any], **response: Any
    ) -> HttpResponse:
        template = f"admin/echo/connection/{name}.html"
        return TemplateResponse(request, template, context, **response)

    # --- actions -----------------------------------------------------------------------

    def act(self, request: HttpRequest, listing: Listing) -> HttpResponse | None:
        """Runs the action that was chosen; None when the list is to be shown again."""
        name = request.POST.get("action", "")
        selection = Selection.parse(listing, request.POST)
        if name and name not in self.get_actions(request):
            raise PermissionDenied
        if name and selection:
            answer: HttpResponse | None = getattr(self, name)(request, selection)
            return answer
        if name:
            text = _("Select connections first: nothing has been done.")
        else:
            text = _("No action selected.")
        self.message_user(request, text, messages.WARNING)
        return None

    @admin.action(
        description=gettext_lazy("Disconnect selected connections"), permissions=["end"]
    )
    def disconnect(
        self, request: HttpRequest, selection: Selection
    ) -> HttpResponse | None:
        """Clients that are disconnected by an operator stay away."""
        confirmed = "confirmed" in request.POST
        form = ReasonForm(request.POST if confirmed else None)
        if not (confirmed and form.is_valid()):
            return self.confirm(request, selection, form=form)
        self.end(request, selection, disconnection(form.cleaned_data["reason"]))
        return None

    @admin.action(
        description=gettext_lazy("Ask selected connections to reconnect"),
        permissions=["end"],
    )
    def ask_to_reconnect(
        self, request: HttpRequest, selection: Selection
    ) -> HttpResponse | None:
        """Clients that are asked to reconnect come back by themselves, one by one."""
        if selection.is_all and "confirmed" not in request.POST:
            return self.confirm(request, selection)
        self.end(request, selection, RECONNECTION)
        return None

    def end(self, request: HttpRequest, selection: Selection, how: Ending) -> None:
        """Ends what is selected; logs it, and tells the operator."""
        answer = ask(how.question(selection))
        with transaction.atomic():
            for identity, text in how.entries(selection, answer):
                self.log_change(request, Connection(pk=identity), text)
        self.message_user(request, *how.account(selection, answer))

    @admin.action(
        description=gettext_lazy("Send a test event to selected connections"),
        permissions=["test"],
    )
    def send_test_event(
        self, request: HttpRequest, selection: Selection
    ) -> HttpResponse | None:
        """An event exists only in the log: others who read its topic get it too."""
        try:
            if "confirmed" in request.POST:
                self.publish_test(request, selection)
                return None
            topics, readers = plan(selection.where)
        except (TooManyTopics, FeedError) as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        if not topics:
            text = " ".join(unheard(ask(selection.where))) or _("They have all gone.")
            self.message_user(request, text, messages.WARNING)
            return None
        reached = [
            {
                "topic": topic,
                "selected": number(count),
                "readers": number(readers[topic]),
            }
            for topic, count in topics.items()
        ]
        return self.confirm(request, selection, topics=reached)

    def publish_test(self, request: HttpRequest, selection: Selection) -> None:
        """Publishes one event for each topic that the operator has agreed to."""
        author = request.user.get_username()
        data = {"test": True, "sent_by": author, "at": timezone.now().isoformat()}
        if not (topics := request.POST.getlist("topic")):
            text = _("No topic was given: nothing has been published.")
            self.message_user(request, text, messages.WARNING)
            return
        with transaction.atomic():
            published = feed.publish_many(
                [{"topic": topic, "data": data} for topic in topics],
                source=Event.Source.ADMIN,
                author=author,
            )
            sent = [
                (one.id.rpartition("-")[2], topic)
                for one, topic in zip(published, topics, strict=True)
            ]
            for event_number, topic in sent:
                event = Event(pk=int(event_number), topic=topic)
                self.log_addition(request, event, f"test event, for {selection}")
            for identity in selection.ids:
                text = f"sent a test event: {', '.join(topics)}"
                self.log_change(request, Connection(pk=identity), text)
        self.message_user(request, receipts(sent), messages.SUCCESS)

    def confirm(
        self, request: HttpRequest, selection: Selection, **more: Any
    ) -> HttpResponse:
        """Asks before something is done that cannot be taken back."""
        answer = ask(selection.where)
        action = request.POST["action"]
        context = self.context(request, selection.listing, **more) | {
            "title": _("Are you sure?"),
            "action": action,
            "action_name": dict(self.get_action_choices(request))[action],
            "selection": selection,
            "total": number(answer["total"]),
            "count": answer["total"],
            "unheard": unheard(answer),
            "rows": [row(each) for each in answer["rows"][:SHOWN_SELECTED]],
            "unnamed": answer["total"] - SHOWN_SELECTED,
            "shown_unnamed": number(answer["total"] - SHOWN_SELECTED),
            "filters": selection.listing.filters,
            "back": request.get_full_path(),
        }
        return self.page(request, "confirm", context)


def receipts(sent: Iterable[tuple[str, str]]) -> SafeString:
    """What was published, each with a link to its receipt."""
    links = format_html_join(
        ", ",
        '<a href="{}">{} {}</a>',
        ((f"{changelist('event')}{n}/receipt/", topic, n) for n, topic in sent),
    )
    return format_html_join("", "{} {}", [(_("Test event published:"), links)])


def changelist(model: str = "connection") -> str:
    """The address of a model's list."""
    return reverse(f"admin:echo_{model}_changelist")
