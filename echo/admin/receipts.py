"""What became of an event that was published here, in words."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from echo.models import Event

# By then every node has found the event in the log, had it heard nothing of it.
HEARD_BY_ALL = timedelta(seconds=2)


def words(event: Event, answer: dict[str, Any]) -> dict[str, Any]:
    """A receipt as the page shows it: texts, numbers for a bar, and whether more will come."""
    is_final = timezone.now() - event.sent_at > HEARD_BY_ALL and not answer["waiting"]
    if not answer["is_known"]:
        found = [unknown_note()] if is_final else []
        return receipt("unknown" if is_final else "under-way", answer, notes=found)
    return receipt(
        "complete" if is_final else "under-way",
        answer,
        delivered=delivered(answer),
        took="–" if answer["seconds"] is None else duration(answer["seconds"]),
        notes=notes(answer),
    )


def receipt(
    state: str,
    answer: dict[str, Any],
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
        "notes": [*notes, *silent_notes(answer)],
        "value": answer["delivered"],
        "max": max(answer["offered"], 1),
    }


def label(state: str, answer: dict[str, Any]) -> str:
    """The receipt in two or three words."""
    if state == "unknown":
        return _("not counted")
    if state == "under-way":
        is_behind = answer["waiting"] or not answer["offered"]
        return _("under way") if is_behind else _("delivered to all so far")
    return _("delivered") if answer["offered"] else _("published, no reader")


def delivered(answer: dict[str, Any]) -> str:
    """To how many of how many, on how many nodes."""
    count = len(answer["nodes"])
    to = ngettext(
        "%(delivered)s of %(offered)s connection",
        "%(delivered)s of %(offered)s connections",
        answer["offered"],
    ) % {"delivered": answer["delivered"], "offered": answer["offered"]}
    on = ngettext("on %(count)s node", "on %(count)s nodes", count) % {"count": count}
    return f"{to} {on}"


def duration(seconds: float) -> str:
    """Milliseconds up to a second, then seconds."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def notes(answer: dict[str, Any]) -> list[str]:
    """What the numbers alone do not say."""
    waiting = answer["waiting"]
    if not answer["offered"] and not waiting:
        return [
            _(
                "Nobody read this topic when the event came. It is kept in the log: "
                "whoever resumes from before it, or asks for the earliest, gets it."
            )
        ]
    elsewhere = answer["offered"] - answer["delivered"] - waiting
    behind = ngettext(
        "%(count)s is catching up from the log, and will come to it.",
        "%(count)s are catching up from the log, and will come to it.",
        waiting,
    )
    gone = ngettext(
        "%(count)s has got it from the log, or has left.",
        "%(count)s have got it from the log, or have left.",
        max(0, elsewhere),
    )
    told = ((waiting, behind), (elsewhere, gone))
    return [text % {"count": count} for count, text in told if count > 0]


def silent_notes(answer: dict[str, Any]) -> list[str]:
    """Names the nodes whose part is missing in the numbers."""
    if not answer["silent"]:
        return []
    text = _("Did not answer in time, so not counted: %(nodes)s")
    return [text % {"nodes": ", ".join(answer["silent"])}]


def unknown_note() -> str:
    return _(
        "No node counts this event's deliveries, or none does any more: they count the "
        "last ones that were published in the admin, until they restart. The event "
        "itself is in the log, and reaches its readers."
    )
