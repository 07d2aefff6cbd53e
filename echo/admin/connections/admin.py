"""Live connections of all nodes: looked at and ended.

Nothing of them is stored: each page is one question to the nodes, which answer with a page.
"""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

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
from echo.admin.readonly import ReadOnly
from echo.admin.survey import ask, unheard
from echo.models import Connection

# Connections that a page asking for confirmation names.
SHOWN_SELECTED = 10


@admin.register(Connection)
class ConnectionAdmin(ReadOnly):
    """A list like Django's own, of rows that no table holds."""

    actions = ("disconnect", "ask_to_reconnect")

    # --- who may -----------------------------------------------------------------------

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("echo.end_connection")

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
            "total": number(answer.result.total),
            "count": answer.result.total,
            "unheard": unheard(answer),
            "rows": [row(each) for each in answer.result.rows[:SHOWN_SELECTED]],
            "unnamed": answer.result.total - SHOWN_SELECTED,
            "shown_unnamed": number(answer.result.total - SHOWN_SELECTED),
            "filters": selection.listing.filters,
            "back": request.get_full_path(),
        }
        return self.page(request, "confirm", context)


def changelist() -> str:
    """Return the address of the list."""
    return reverse("admin:echo_connection_changelist")
