"""Events: looked at, and never changed: a changed event would be another one."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from echo.models import Event


@admin.register(Event)
class EventAdmin(admin.ModelAdmin):
    """The log, newest first."""

    list_display = ("number", "topic", "short_data", "source", "author", "sent_at")
    list_filter = ("source", "sent_at")
    search_fields = ("topic", "data", "author")
    # Counting a large log for "of 1,000,000" would take longer than showing the page.
    show_full_result_count = False

    @admin.display(description=_("data"))
    def short_data(self, event: Event) -> str:
        return event.data if len(event.data) <= 80 else event.data[:79] + "…"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
