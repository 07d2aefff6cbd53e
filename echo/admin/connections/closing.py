"""Ending connections: why, and the accounts of it in the log of actions and on the page."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from echo import feed
from echo.admin.connections.selection import Selection
from echo.admin.connections.table import number
from echo.admin.survey import unheard
from echo.protocol import MAX_CLOSE_REASON_BYTES, CloseCode

DEFAULT_REASON = "disconnected by an operator"
# The pseudo connection to which the log of actions ties what was done to all that match.
ALL = "all"


class ReasonForm(forms.Form):
    """Why clients are disconnected, as they are told."""

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
class Ending:
    """One way to end connections: what clients are told, the log of actions, the operator."""

    code: CloseCode
    reason: str
    logged: str
    done: Any  # by the number ``ended``

    def question(self, selection: Selection) -> feed.EndConnections:
        return feed.EndConnections(self.code, self.reason, selection.where)

    def entries(
        self, selection: Selection, answer: feed.Survey[feed.EndedConnections]
    ) -> Iterator[tuple[str, str]]:
        """Each selected connection's id and entry in the log of actions; all of a kind, one.

        Those that no answer names have theirs: a node that is late ends them all the same.
        """
        if selection.is_all:
            count = f"{answer.result.count} connections, {selection}"
            yield ALL, f"{self.logged}: {count}{not_asked(answer)}"
            return
        rows = {row.id: row for row in answer.result.rows}
        for identity in selection.ids:
            if row := rows.get(identity):
                whose = row.user or "a visitor"
                known = f"{row.transport}, {row.address}, {whose}"
            else:
                known = f"unless it had gone already{not_asked(answer)}"
            yield identity, f"{self.logged}: {known}"

    def account(
        self, selection: Selection, answer: feed.Survey[feed.EndedConnections]
    ) -> tuple[str, int]:
        """What the operator is told, and its level: a success when all nodes have done it."""
        told = [self.told(answer)] if answer.result.count else []
        if not unheard(answer):
            told += gone(selection, answer)
        if answer.unresponsive:
            silent = _(
                "%(nodes)s did not answer in time: what was done there is not known."
            )
            told.append(silent % {"nodes": ", ".join(answer.unresponsive)})
        else:
            nobody = _("There was nobody to do it to: nothing has been done.")
            told = (told or [nobody]) + unheard(answer)
        is_done = answer.result.count and not unheard(answer)
        return " ".join(told), messages.SUCCESS if is_done else messages.WARNING

    def told(self, answer: feed.Survey[feed.EndedConnections]) -> str:
        """How many connections were ended, on how many nodes."""
        ended, count = (
            answer.result.count,
            len({row.node for row in answer.result.rows}),
        )
        nodes = ngettext("%(count)d node", "%(count)d nodes", count) % {"count": count}
        counts = {"ended": ended, "count": number(ended), "nodes": nodes}
        return str(self.done % counts)


def gone(selection: Selection, answer: feed.Survey[feed.EndedConnections]) -> list[str]:
    """How many of the selected were not ended, if any: all nodes have answered."""
    if selection.is_all or not (count := len(selection.ids) - answer.result.count):
        return []
    text = ngettext(
        "%(gone)d had gone already or is going.",
        "%(gone)d had gone already or are going.",
        count,
    )
    return [text % {"gone": count}]


def not_asked(answer: feed.Survey[feed.EndedConnections]) -> str:
    """The nodes that gave no answer, for the log of actions; empty when all did."""
    if answer.unresponsive:
        return f"; silent: {', '.join(answer.unresponsive)}"
    if answer.is_degraded:
        return "; the channel layer was down, only one node was asked"
    return "; this process only: the channel layer is in memory" * answer.is_isolated


def disconnection(reason: str) -> Ending:
    """Clients that are disconnected by an operator stay away."""
    return Ending(
        CloseCode.DISCONNECTED_BY_OPERATOR,
        reason,
        f'disconnected, reason "{reason}"',
        ngettext_lazy(
            "%(count)s connection disconnected, on %(nodes)s.",
            "%(count)s connections disconnected, on %(nodes)s.",
            "ended",
        ),
    )


# Clients that are asked to reconnect come back by themselves, one by one.
RECONNECTION = Ending(
    CloseCode.ASKED_TO_RECONNECT,
    "asked to reconnect",
    "asked to reconnect",
    ngettext_lazy(
        "%(count)s connection asked to reconnect, on %(nodes)s.",
        "%(count)s connections asked to reconnect, on %(nodes)s.",
        "ended",
    ),
)
