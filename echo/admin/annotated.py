"""Lists and pages of rows that also tell what the nodes know of them, asked once a page."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.validators import ProhibitNullCharactersValidator
from django.http import HttpRequest, HttpResponse

from echo.admin.survey import unheard
from echo.feed import Survey

NUL = "\0"


class NotedList(ChangeList):
    """A page of rows, noted together."""

    model_admin: "NotedAdmin"

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        if self.result_list:
            self.model_admin.note(request, self.result_list)

    def get_filters(self, request: HttpRequest) -> Any:
        """Refuses a NUL, which PostgreSQL does not even let be looked for."""
        for values in self.get_filters_params().values():
            if any(NUL in value for value in values):
                messages.error(request, ProhibitNullCharactersValidator.message)
                raise IncorrectLookupParameters
        return super().get_filters(request)


class NotedAdmin(admin.ModelAdmin):
    """The base of those whose rows the nodes know more of."""

    def note(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Asks the nodes, and gives each row what they know of it."""
        raise NotImplementedError

    def tell_unheard(self, request: HttpRequest, answer: Survey[Any]) -> None:
        """Says above the page why its numbers are not the whole truth."""
        for words in unheard(answer):
            self.message_user(request, words, messages.WARNING)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NotedList]:
        return NotedList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """None for a NUL, which PostgreSQL does not even let be looked for."""
        if NUL in object_id:
            return None
        return super().get_object(request, object_id, from_field)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page of one row, which is noted before it is shown."""
        if (row := context["original"]) is not None:
            self.note(request, [row])
        return super().render_change_form(request, context, *args, **kwargs)
