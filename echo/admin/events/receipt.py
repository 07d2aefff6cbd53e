"""Words the receipt of an event: how far its delivery has come, and what is not known."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, ngettext_lazy

from echo.admin.survey import caveats
from echo.feed import cluster
from echo.models import Event

# By then every node has read the event from the log, even without a doorbell.
SETTLE_TIME = timedelta(seconds=2)

# Where connections are that the event was not delivered to live.
QUEUED = ngettext_lazy(
    "%(count)s connection has not received it yet.",
    "%(count)s connections have not received it yet.",
    "count",
)
CATCHING_UP = ngettext_lazy(
    "%(count)s connection is catching up from the log and will receive it.",
    "%(count)s connections are catching up from the log and will receive it.",
    "count",
)
OTHERS = ngettext_lazy(
    "%(count)s connection received it from the log or has closed.",
    "%(count)s connections received it from the log or have closed.",
    "count",
)


@dataclass(frozen=True, slots=True)
class Summary:
    """A receipt as the page shows it."""

    # "under-way" and "partial" may still change; "complete" and "unknown" do not.
    state: str
    label: str
    delivered: str
    took: str
    notes: list[str]
    # The bar: ``value`` of ``max`` are delivered.
    value: int
    max: int


def summarize(event: Event, survey: cluster.Survey[cluster.Receipt]) -> Summary:
    """Return the receipt of an event from its survey."""
    state = delivery_state(event, survey)
    is_known = survey.result.is_known
    if is_known:
        notes = delivery_notes(survey)
    else:
        notes = [unknown_note()] if state == "unknown" else []
    return Summary(
        state,
        label(state, survey),
        delivered=delivered_text(survey) if is_known else "–",
        took=latency_text(survey.result.seconds) if is_known else "–",
        notes=notes + caveat_notes(survey),
        value=survey.result.delivered,
        max=max(survey.result.offered, 1),
    )


def delivery_state(event: Event, survey: cluster.Survey[cluster.Receipt]) -> str:
    """Return how far the delivery is; "partial" at most while nodes are missing."""
    if timezone.now() - event.sent_at <= SETTLE_TIME or survey.result.waiting:
        return "under-way"
    if caveats(survey):
        return "partial"
    return "complete" if survey.result.is_known else "unknown"


def label(state: str, survey: cluster.Survey[cluster.Receipt]) -> str:
    """Return the outcome, limited to the nodes that answered."""
    outcome = outcome_text(state, survey)
    if survey.is_degraded:
        return _("%(outcome)s on this node") % {"outcome": outcome}
    if survey.unresponsive:
        return _("%(outcome)s on the nodes that answered") % {"outcome": outcome}
    if survey.is_isolated:
        return _("%(outcome)s in this process") % {"outcome": outcome}
    return outcome


def outcome_text(state: str, survey: cluster.Survey[cluster.Receipt]) -> str:
    """Return the outcome on the nodes that answered, in a few words."""
    if state != "under-way" and not survey.result.is_known:
        return _("not counted")
    if state == "under-way":
        is_behind = survey.result.waiting or not survey.result.offered
        return _("under way") if is_behind else _("delivered to all so far")
    return _("delivered") if survey.result.offered else _("published, no reader")


def delivered_text(survey: cluster.Survey[cluster.Receipt]) -> str:
    """Return to how many of how many connections, on how many nodes."""
    count = len(survey.nodes)
    to = ngettext(
        "%(delivered)s of %(offered)s connection",
        "%(delivered)s of %(offered)s connections",
        survey.result.offered,
    ) % {"delivered": survey.result.delivered, "offered": survey.result.offered}
    on = ngettext("on %(count)s node", "on %(count)s nodes", count) % {"count": count}
    return f"{to} {on}"


def latency_text(seconds: float | None) -> str:
    """Return milliseconds below a second, else seconds; a dash before any delivery."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def delivery_notes(survey: cluster.Survey[cluster.Receipt]) -> list[str]:
    """Return where the connections are that the event was not delivered to live."""
    if not survey.result.offered and not caveats(survey):
        return [
            _(
                "No connection read this topic when the event was published. The event "
                "is in the log: a client that resumes from an earlier id, or starts "
                "from the earliest event, receives it."
            )
        ]
    catching_up = survey.result.catching_up
    queued = survey.result.waiting - catching_up
    others = max(
        0, survey.result.offered - survey.result.delivered - survey.result.waiting
    )
    notes = ((queued, QUEUED), (catching_up, CATCHING_UP), (others, OTHERS))
    return [str(text % {"count": count}) for count, text in notes if count]


def caveat_notes(survey: cluster.Survey[cluster.Receipt]) -> list[str]:
    """Return why the numbers are incomplete, and that the event itself is safe."""
    if not (texts := caveats(survey)):
        return []
    return [*texts, _("The event is in the log, where every node finds it.")]


def unknown_note() -> str:
    """Return why no node has a count."""
    return _(
        "No node has counted this event's deliveries: nodes count only the latest events "
        "published in the admin, and lose their counts when they restart. The event is "
        "in the log and reaches its readers."
    )
