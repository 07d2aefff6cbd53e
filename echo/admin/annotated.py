"""The base of admins whose rows are annotated with what the nodes know, one survey a page."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.validators import ProhibitNullCharactersValidator
from django.http import HttpRequest, HttpResponse

from echo.admin.survey import caveats
from echo.feed import cluster

NUL = "\0"


class AnnotatedChangeList(ChangeList):
    """A list whose page of rows is annotated at once."""

    model_admin: "AnnotatedAdmin"

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        if self.result_list:
            self.model_admin.annotate(request, self.result_list)

    def get_filters(self, request: HttpRequest) -> Any:
        """Reject NUL: PostgreSQL text cannot hold it."""
        for values in self.get_filters_params().values():
            if any(NUL in value for value in values):
                messages.error(request, ProhibitNullCharactersValidator.message)
                raise IncorrectLookupParameters
        return super().get_filters(request)


class AnnotatedAdmin(admin.ModelAdmin):
    """An admin whose lists and pages annotate their rows before they are shown."""

    def annotate(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Survey the nodes and set on each row what they know of it."""
        raise NotImplementedError

    def warn_incomplete(
        self, request: HttpRequest, survey: cluster.Survey[Any]
    ) -> None:
        """Show above the page why its numbers are incomplete."""
        for text in caveats(survey):
            self.message_user(request, text, messages.WARNING)

    def get_changelist(
        self, request: HttpRequest, **kwargs: Any
    ) -> type[AnnotatedChangeList]:
        return AnnotatedChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Reject NUL: PostgreSQL text cannot hold it."""
        if NUL in object_id:
            return None
        return super().get_object(request, object_id, from_field)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Annotate the page's one row before it is shown."""
        if (row := context["original"]) is not None:
            self.annotate(request, [row])
        return super().render_change_form(request, context, *args, **kwargs)
