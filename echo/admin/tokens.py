"""Tokens for publishing over HTTP; a secret is shown once, when it is generated."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from echo.models import Token
from echo.protocol import FeedError, check_pattern


class TokenForm(forms.ModelForm):
    """A token's own fields; its topics are validated by the feed's rules."""

    class Meta:
        model = Token
        fields = ("name", "topics", "owner", "is_active")

    def clean_topics(self) -> str:
        patterns = self.cleaned_data["topics"].split()
        try:
            return " ".join(map(check_pattern, patterns))
        except FeedError as error:
            raise forms.ValidationError(str(error)) from None


@admin.register(Token)
class TokenAdmin(admin.ModelAdmin):
    """All tokens; the secret of a new or renewed one is shown in a message."""

    form = TokenForm
    list_display = (
        "name",
        "topics",
        "owner",
        "is_active",
        "created_at",
        "last_used_at",
    )
    list_filter = ("is_active",)
    search_fields = ("name", "topics")
    readonly_fields = ("created_at", "last_used_at")
    actions = ("renew",)

    def save_model(
        self, request: HttpRequest, obj: Token, form: Any, change: bool
    ) -> None:
        """Save the token; generate and show the secret of a new one."""
        secret = None if change else obj.renew_secret()
        super().save_model(request, obj, form, change)
        if secret:
            self.show_once(request, obj, secret)

    @admin.action(
        description=_("Renew the secret of selected tokens"), permissions=["change"]
    )
    def renew(self, request: HttpRequest, queryset: Any) -> None:
        """Replace the secrets; the old ones are refused at once."""
        for token in queryset:
            secret = token.renew_secret()
            token.save(update_fields=["secret_hash"])
            self.log_change(request, token, "secret renewed")
            self.show_once(request, token, secret)

    def show_once(self, request: HttpRequest, token: Token, secret: str) -> None:
        """Show what the bearer sends, ``<id>.<secret>``, in a message."""
        text = _("%(name)s: %(secret)s — copy it now, it is not shown again.")
        shown = text % {"name": token.name, "secret": f"{token.pk}.{secret}"}
        self.message_user(request, shown, messages.WARNING)
