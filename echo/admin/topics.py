"""Topics: they come with their first event; how long they keep events may be changed."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from echo.models import Topic


@admin.register(Topic)
class TopicAdmin(admin.ModelAdmin):
    """Topics come with their first event; how long they keep events may be changed."""

    list_display = (
        "name",
        "kept",
        "last_number",
        "retention_seconds",
        "retention_events",
    )
    search_fields = ("name",)
    readonly_fields = ("name", "kept", "last_number", "pruned_number")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
