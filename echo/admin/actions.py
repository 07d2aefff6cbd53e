"""Django's log of actions, to be read: who published, disconnected and changed what."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest


@admin.register(LogEntry)
class ActionAdmin(admin.ModelAdmin):
    """All entries, newest first; a history page has only those of one object."""

    list_display = ("action_time", "user", "object_repr", "message")
    list_display_links = None
    list_filter = ("action_time", "action_flag")
    show_facets = admin.ShowFacets.NEVER
    list_select_related = ("user",)
    search_fields = ("user__username", "object_repr", "object_id", "change_message")
    show_full_result_count = False

    @admin.display(description=LogEntry._meta.get_field("change_message").verbose_name)
    def message(self, entry: LogEntry) -> str:
        return entry.get_change_message()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
