"""The two ways in which an operator closes connections, and the reports of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from echo.admin.connections.selection import Selection
from echo.admin.formats import format_number
from echo.admin.survey import caveats
from echo.feed import cluster
from echo.protocol import MAX_CLOSE_REASON_BYTES, CloseCode

DEFAULT_REASON = "disconnected by an operator"
# The object id in the log of actions of what was done to all that match.
ALL = "all"


class ReasonForm(forms.Form):
    """The reason for disconnecting, which each client gets with the close code."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        widget=forms.TextInput(
            attrs={
                "class": "vTextField",
                "autocomplete": "off",
                "placeholder": DEFAULT_REASON,
            }
        ),
        help_text=gettext_lazy("Shown to the client; at most 123 bytes of UTF-8."),
    )

    def clean_reason(self) -> str:
        reason = self.cleaned_data["reason"] or DEFAULT_REASON
        if (size := len(reason.encode())) > MAX_CLOSE_REASON_BYTES:
            raise forms.ValidationError(
                _(
                    "Expected at most %(limit)d bytes of UTF-8, got %(size)d: shorten it."
                )
                % {"limit": MAX_CLOSE_REASON_BYTES, "size": size}
            )
        return reason


@dataclass(frozen=True, slots=True)
class Closing:
    """One way to close connections, for the clients, the log of actions and the page."""

    code: CloseCode
    reason: str
    log_text: str
    summary: Any  # a lazy ngettext of ``count`` and ``nodes``, by the number ``ended``

    def question(self, selection: Selection) -> cluster.EndConnections:
        """Return the question that closes the selected connections."""
        return cluster.EndConnections(self.code, self.reason, selection.connections)

    def log_entries(
        self, selection: Selection, survey: cluster.Survey[cluster.EndedConnections]
    ) -> Iterator[tuple[str, str]]:
        """Yield an id and a text for each selected connection; one pair for all that match.

        A connection that no node reports has its entry too: a node that answers too late
        closes it all the same.
        """
        if selection.is_all:
            count = f"{survey.result.count} connections, {selection}"
            yield ALL, f"{self.log_text}: {count}{log_caveat(survey)}"
            return
        rows = {row.id: row for row in survey.result.rows}
        for identity in selection.ids:
            if row := rows.get(identity):
                user = row.user or "a visitor"
                details = f"{row.transport}, {row.address}, {user}"
            else:
                details = f"unless it had already closed{log_caveat(survey)}"
            yield identity, f"{self.log_text}: {details}"

    def report(
        self, selection: Selection, survey: cluster.Survey[cluster.EndedConnections]
    ) -> tuple[str, int]:
        """Return the message for the operator and its level, a warning if incomplete."""
        texts = [self.ended_text(survey)] if survey.result.count else []
        if not caveats(survey):
            texts += already_closed(selection, survey)
        if survey.unresponsive:
            text = _("%(nodes)s did not answer in time: the outcome there is unknown.")
            texts.append(text % {"nodes": ", ".join(survey.unresponsive)})
        else:
            none = _("No matching connections: nothing has been done.")
            texts = (texts or [none]) + caveats(survey)
        is_success = survey.result.count and not caveats(survey)
        return " ".join(texts), messages.SUCCESS if is_success else messages.WARNING

    def ended_text(self, survey: cluster.Survey[cluster.EndedConnections]) -> str:
        """Return how many connections were closed, on how many nodes."""
        ended = survey.result.count
        count = len({row.node for row in survey.result.rows})
        nodes = ngettext("%(count)d node", "%(count)d nodes", count) % {"count": count}
        counts = {"ended": ended, "count": format_number(ended), "nodes": nodes}
        return str(self.summary % counts)


def already_closed(
    selection: Selection, survey: cluster.Survey[cluster.EndedConnections]
) -> list[str]:
    """Return how many of the selected were not closed, if any; for a complete survey."""
    if selection.is_all or not (count := len(selection.ids) - survey.result.count):
        return []
    text = ngettext(
        "%(count)d had already closed or was closing.",
        "%(count)d had already closed or were closing.",
        count,
    )
    return [text % {"count": count}]


def log_caveat(survey: cluster.Survey[cluster.EndedConnections]) -> str:
    """Return which nodes gave no answer, for the log of actions; "" if all did."""
    if survey.unresponsive:
        return f"; no answer from {', '.join(survey.unresponsive)}"
    if survey.is_degraded:
        return "; the channel layer was down, only one node was asked"
    return "; this process only: the channel layer is in memory" * survey.is_isolated


def disconnection(reason: str) -> Closing:
    """Return the closing after which clients do not reconnect."""
    return Closing(
        CloseCode.DISCONNECTED_BY_OPERATOR,
        reason,
        f'disconnected, reason "{reason}"',
        ngettext_lazy(
            "%(count)s connection disconnected, on %(nodes)s.",
            "%(count)s connections disconnected, on %(nodes)s.",
            "ended",
        ),
    )


# Clients reconnect by themselves, spread over some seconds.
RECONNECTION = Closing(
    CloseCode.ASKED_TO_RECONNECT,
    "asked to reconnect",
    "asked to reconnect",
    ngettext_lazy(
        "%(count)s connection asked to reconnect, on %(nodes)s.",
        "%(count)s connections asked to reconnect, on %(nodes)s.",
        "ended",
    ),
)
