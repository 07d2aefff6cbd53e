"""The HTML pages: each view renders one template, with the limits that its scripts need.

The knobs' names and ranges come from ``echo.knobs``; a test compares each range with its
parser.
"""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from echo.feed import get_node
from echo.knobs import (
    MAX_DURATION_SECONDS,
    MAX_MESSAGE_COUNT,
    MAX_RATE_MESSAGES_PER_SECOND,
    MAX_SEED,
)
from echo.protocol import DEFAULT_TOPIC, MAX_CLOSE_REASON_BYTES, SENDABLE_CLOSE_CODES

Text = str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobField:
    """One knob as a form field."""

    name: str
    range: Text  # the values that it takes, in words
    lowest: str = ""
    highest: str = ""
    default: str = ""
    flag: bool = False  # True for a checkbox


@dataclass(frozen=True, slots=True)
class KnobGroup:
    """Knobs that the form shows together, with an explanation."""

    title: Text
    explanation: Text
    fields: tuple[KnobField, ...]


def between(
    name: str, lowest: int, highest: int, unit: Text = "", default: str = ""
) -> KnobField:
    """Return the field of a knob that is a whole number, both bounds included."""
    return KnobField(
        name=name,
        range=f"{lowest:,} – {highest:,} {unit}".rstrip(),
        lowest=str(lowest),
        highest=str(highest),
        default=default,
    )


def duration(name: str) -> KnobField:
    """Return the field of a knob that is a duration."""
    longest = f"{MAX_DURATION_SECONDS:g}s"
    return KnobField(
        name=name, range=f"0s – {longest}", lowest="0s", highest=longest, default="0s"
    )


def share(name: str) -> KnobField:
    """Return the field of a knob that is a number from 0 to 1."""
    return KnobField(name=name, range="0 – 1", lowest="0", highest="1", default="0")


def count(name: str) -> KnobField:
    """Return the field of a knob that is a number of messages."""
    return between(name, 0, MAX_MESSAGE_COUNT, _("messages"))


def knob_groups() -> tuple[KnobGroup, ...]:
    """Return all knobs of ``/echo``, in the order in which they take effect."""
    cap = settings.ECHO_MAX_MESSAGE_BYTES
    codes = ", ".join(f"{r.start}–{r.stop - 1}" for r in SENDABLE_CLOSE_CODES)
    return (
        KnobGroup(
            _("Handshake"),
            _(
                "Held back by hang. Refused with the status reject, or only a share of "
                "them, failure_rate. The subprotocol is selected if it was offered; * "
                "selects the first. With handshake, the first message tells what the "
                "server saw."
            ),
            (
                duration("hang"),
                between("reject", 400, 599),
                share("failure_rate"),
                KnobField(name="subprotocol", range=_("a name, or *")),
                KnobField(name="handshake", range=_("on or off"), flag=True),
            ),
        ),
        KnobGroup(
            _("Replies"),
            _(
                "Each is due delay × (1 ± jitter) after its message, in order. The "
                "same seed brings the same chances again."
            ),
            (
                duration("delay"),
                share("jitter"),
                KnobField(
                    name="seed",
                    range="0 – 2⁶³ − 1",
                    lowest="0",
                    highest=str(MAX_SEED),
                    default=str(_("random")),
                ),
            ),
        ),
        KnobGroup(
            _("Limits"),
            _("A bigger message is closed with 1009, a faster sender with 1008."),
            (
                between("max_message_size", 1, cap, _("bytes"), default=str(cap)),
                between("rate", 1, MAX_RATE_MESSAGES_PER_SECOND, _("messages/s")),
            ),
        ),
        KnobGroup(
            _("Ending"),
            _(
                "After so many messages the server closes with code and reason, cuts "
                "the connection without a close frame, or falls silent."
            ),
            (
                count("close_after"),
                KnobField(name="close_code", range=codes, default="1000"),
                KnobField(
                    name="close_reason",
                    range=_("at most %(bytes)s bytes")
                    % {"bytes": MAX_CLOSE_REASON_BYTES},
                ),
                duration("close_delay"),
                count("drop_after"),
                count("mute_after"),
            ),
        ),
    )


@require_safe
def console(request: HttpRequest) -> HttpResponse:
    """Render the echo console, which extends gorilla's page."""
    limits = {
        "maxMessageBytes": settings.ECHO_MAX_MESSAGE_BYTES,
        "maxCloseReasonBytes": MAX_CLOSE_REASON_BYTES,
    }
    return render(
        request,
        "echo/console.html",
        {"knob_groups": knob_groups(), "limits": limits},
    )


@require_safe
async def live(request: HttpRequest) -> HttpResponse:
    """Render the live feed, which begins with the events published from now on."""
    # First, because an event may be published during the queries below.
    cursor = str((await get_node()).history.head)
    user = await request.auser()
    return render(
        request,
        "echo/live.html",
        {
            "may_publish": await user.ahas_perm("echo.add_event"),
            "is_signed_in": user.is_authenticated,
            "start": {"cursor": cursor, "topic": DEFAULT_TOPIC},
        },
    )
