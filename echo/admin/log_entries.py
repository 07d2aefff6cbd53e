"""Django's log of admin actions, read-only: who published, disconnected and changed what."""

from django.contrib import admin
from django.contrib.admin.models import LogEntry

from echo.admin.readonly import ReadOnlyAdmin


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    """All entries, newest first; Django's own history pages list one object's."""

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
