"""The list of live connections of all nodes, and the actions that close them.

Nothing of it is stored: each page is one survey of the nodes, which answer with a page.
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
    Closing,
    ReasonForm,
    disconnection,
)
from echo.admin.connections.query import ConnectionQuery, InvalidQuery
from echo.admin.connections.selection import Selection
from echo.admin.connections.table import Row, Table
from echo.admin.formats import format_number
from echo.admin.readonly import ReadOnlyAdmin
from echo.admin.survey import caveats, survey
from echo.models import Connection

# Connections that the page asking for confirmation lists.
LISTED_SELECTED = 10


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    """A list like Django's own, whose rows come from the nodes instead of a table."""

    actions = ("disconnect", "ask_to_reconnect")

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may take the actions that need the permission "end"."""
        return request.user.has_perm("echo.end_connection")

    # --- pages -------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Return the two URLs; Django's other pages of a model would read its table."""
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
        """Redirect from a link in the log of actions to the list with that connection."""
        identity = unquote(object_id)
        query = ConnectionQuery(q="" if identity == ALL else identity)
        list_url = reverse("admin:echo_connection_changelist")
        return HttpResponseRedirect(list_url + query.url())

    def changelist_view(
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        """Return the list, or only the part that the page replaces by itself."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            query = ConnectionQuery.parse(request.GET)
        except InvalidQuery as error:
            context = self.context(request, ConnectionQuery(), problem=str(error))
            return self.render(request, "change_list", context, status=400)
        if request.method == "POST":
            response = self.run_action(request, query)
            return response or HttpResponseRedirect(request.get_full_path())
        table = Table.of(query, survey(query.page))
        is_refresh = "X-Fragment" in request.headers
        template = "refresh" if is_refresh else "change_list"
        return self.render(request, template, self.context(request, query, table=table))

    def context(
        self, request: HttpRequest, query: ConnectionQuery, **more: Any
    ) -> dict[str, Any]:
        """Return what the templates of all pages need."""
        return {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "query": query,
            "action_choices": self.get_action_choices(request),
            "has_actions": bool(self.get_actions(request)),
            "checkbox_name": ACTION_CHECKBOX_NAME,
            **more,
        }

    def render(
        self, request: HttpRequest, name: str, context: dict[str, Any], **response: Any
    ) -> HttpResponse:
        """Return a response with one of the templates of connections."""
        template = f"admin/echo/connection/{name}.html"
        return TemplateResponse(request, template, context, **response)

    # --- actions -----------------------------------------------------------------------

    def run_action(
        self, request: HttpRequest, query: ConnectionQuery
    ) -> HttpResponse | None:
        """Run the chosen action; return None when the list is to be shown again."""
        name = request.POST.get("action", "")
        selection = Selection.parse(query, request.POST)
        if name and name not in self.get_actions(request):
            raise PermissionDenied
        if name and selection:
            response: HttpResponse | None = getattr(self, name)(request, selection)
            return response
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
        """Disconnect with 4503, once confirmed; clients do not reconnect."""
        is_confirmed = "confirmed" in request.POST
        form = ReasonForm(request.POST if is_confirmed else None)
        if not (is_confirmed and form.is_valid()):
            return self.confirm(request, selection, form=form)
        self.close(request, selection, disconnection(form.cleaned_data["reason"]))
        return None

    @admin.action(
        description=gettext_lazy("Ask selected connections to reconnect"),
        permissions=["end"],
    )
    def ask_to_reconnect(
        self, request: HttpRequest, selection: Selection
    ) -> HttpResponse | None:
        """Close with 4011; clients reconnect. Only "all that match" is to be confirmed."""
        if selection.is_all and "confirmed" not in request.POST:
            return self.confirm(request, selection)
        self.close(request, selection, RECONNECTION)
        return None

    def close(
        self, request: HttpRequest, selection: Selection, closing: Closing
    ) -> None:
        """Close what is selected, log it, and report it to the operator."""
        ended = survey(closing.question(selection))
        with transaction.atomic():
            for identity, text in closing.log_entries(selection, ended):
                self.log_change(request, Connection(pk=identity), text)
        self.message_user(request, *closing.report(selection, ended))

    def confirm(
        self, request: HttpRequest, selection: Selection, form: ReasonForm | None = None
    ) -> HttpResponse:
        """Return the page that lists what is selected and asks for confirmation."""
        selected = survey(selection.connections)
        action = request.POST["action"]
        count = selected.result.total
        context = self.context(
            request,
            selection.query,
            form=form,
            action=action,
            action_name=dict(self.get_action_choices(request))[action],
            selection=selection,
            count=count,
            formatted_count=format_number(count),
            caveats=caveats(selected),
            rows=[Row.of(each) for each in selected.result.rows[:LISTED_SELECTED]],
            unlisted=count - LISTED_SELECTED,
            formatted_unlisted=format_number(count - LISTED_SELECTED),
            back=request.get_full_path(),
        )
        context["title"] = _("Are you sure?")
        return self.render(request, "confirm", context)
