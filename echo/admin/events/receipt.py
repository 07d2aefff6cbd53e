"""What became of an event that was published here, in words."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from echo.admin.survey import unheard
from echo.feed import Receipt, Survey
from echo.models import Event

# By then every node has found the event in the log, had it heard nothing of it.
HEARD_BY_ALL = timedelta(seconds=2)


def words(event: Event, answer: Survey[Receipt]) -> dict[str, Any]:
    """A receipt as the page shows it: texts, numbers for a bar, and whether more will come."""
    state = state_of(event, answer)
    if not answer.result.is_known:
        found = [unknown_note()] if state == "unknown" else []
        return receipt(state, answer, notes=found)
    return receipt(
        state,
        answer,
        delivered=delivered(answer),
        took="–" if answer.result.seconds is None else duration(answer.result.seconds),
        notes=notes(answer),
    )


def state_of(event: Event, answer: Survey[Receipt]) -> str:
    """How far it is: "partial" is all that is known while nodes are not heard."""
    if timezone.now() - event.sent_at <= HEARD_BY_ALL or answer.result.waiting:
        return "under-way"
    if unheard(answer):
        return "partial"
    return "complete" if answer.result.is_known else "unknown"


def receipt(
    state: str,
    answer: Survey[Receipt],
    *,
    delivered: str = "–",
    took: str = "–",
    notes: list[str],
) -> dict[str, Any]:
    return {
        "state": state,
        "label": label(state, answer),
        "delivered": delivered,
        "took": took,
        "notes": [*notes, *elsewhere_notes(answer)],
        "value": answer.result.delivered,
        "max": max(answer.result.offered, 1),
    }


def label(state: str, answer: Survey[Receipt]) -> str:
    """The receipt in a few words, which claim nothing of nodes that were not heard."""
    words = outcome(state, answer)
    if answer.is_degraded:
        return _("%(outcome)s on this node") % {"outcome": words}
    if answer.unresponsive:
        return _("%(outcome)s on the nodes that answered") % {"outcome": words}
    if answer.is_isolated:
        return _("%(outcome)s in this process") % {"outcome": words}
    return words


def outcome(state: str, answer: Survey[Receipt]) -> str:
    """What came of it, on the nodes that were heard."""
    if state != "under-way" and not answer.result.is_known:
        return _("not counted")
    if state == "under-way":
        is_behind = answer.result.waiting or not answer.result.offered
        return _("under way") if is_behind else _("delivered to all so far")
    return _("delivered") if answer.result.offered else _("published, no reader")


def delivered(answer: Survey[Receipt]) -> str:
    """To how many of how many, on how many nodes."""
    count = len(answer.nodes)
    to = ngettext(
        "%(delivered)s of %(offered)s connection",
        "%(delivered)s of %(offered)s connections",
        answer.result.offered,
    ) % {"delivered": answer.result.delivered, "offered": answer.result.offered}
    on = ngettext("on %(count)s node", "on %(count)s nodes", count) % {"count": count}
    return f"{to} {on}"


def duration(seconds: float) -> str:
    """Milliseconds up to a second, then seconds."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def notes(answer: Survey[Receipt]) -> list[str]:
    """What the numbers alone do not say."""
    catching_up = answer.result.catching_up
    queued = answer.result.waiting - catching_up
    if not answer.result.offered and not unheard(answer):
        return [
            _(
                "Nobody read this topic when the event came. It is kept in the log: "
                "whoever resumes from before it, or asks for the earliest, gets it."
            )
        ]
    elsewhere = answer.result.offered - answer.result.delivered - answer.result.waiting
    due = ngettext(
        "%(count)s has not been handed it yet.",
        "%(count)s have not been handed it yet.",
        queued,
    )
    behind = ngettext(
        "%(count)s is catching up from the log, and will come to it.",
        "%(count)s are catching up from the log, and will come to it.",
        catching_up,
    )
    gone = ngettext(
        "%(count)s has got it from the log, or has left.",
        "%(count)s have got it from the log, or have left.",
        max(0, elsewhere),
    )
    told = ((queued, due), (catching_up, behind), (elsewhere, gone))
    return [text % {"count": count} for count, text in told if count > 0]


def elsewhere_notes(answer: Survey[Receipt]) -> list[str]:
    """Why the numbers are not the whole truth, and that the event itself is not at stake."""
    if not (gaps := unheard(answer)):
        return []
    return [*gaps, _("The event is in the log, where every node finds it.")]


def unknown_note() -> str:
    return _(
        "No node counts this event's deliveries, or none does any more: they count the "
        "last ones that were published in the admin, until they restart. The event "
        "itself is in the log, and reaches its readers."
    )
