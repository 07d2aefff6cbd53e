"""The knobs of ``/echo``: parsed from the query string into one dataclass.

A value that is malformed or out of range, a knob given twice, and knobs that contradict
are errors and never clamped: a test of a client must get exactly what it asked for, or an
error. Unknown parameters are listed under ``ignored``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import Any
from urllib.parse import parse_qsl

from echo import durations
from echo.protocol import (
    MAX_CLOSE_REASON_BYTES,
    CloseCode,
    is_sendable_close_code,
)

MAX_DURATION_SECONDS = 10.0
MAX_MESSAGE_COUNT = 1_000_000
MAX_RATE_MESSAGES_PER_SECOND = 10_000
MAX_SEED = 2**63 - 1
# Browsers and proxies allow far less; this bounds the work of a handshake.
MAX_PARAMETERS = 100

# The units of Go's time.ParseDuration, without those that exceed ten seconds.
DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0}
# RFC 9110 section 5.6.2: a name in Sec-WebSocket-Protocol.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class KnobError(ValueError):
    """An invalid query string; the text says expected, got, and remedy."""


def parse_duration(text: str) -> float:
    """Return seconds, 0 to 10, from Go style (``250ms``, ``1s500ms``) or plain seconds."""
    seconds = durations.parse_duration(text, DURATION_UNITS)
    if seconds is None:
        raise KnobError(
            "a duration such as 250ms, 1.5s or 2, from 0s to 10s"
            + durations.remedy(text)
        )
    if seconds > MAX_DURATION_SECONDS:
        raise KnobError("a duration from 0s to 10s")
    return seconds


def parse_share(text: str) -> float:
    """Return a number from 0 to 1."""
    share = durations.parse_decimal(text)
    if share is None or share > 1:
        raise KnobError("a number from 0 to 1, such as 0.25" + durations.remedy(text))
    return share


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a parser for whole numbers, both bounds included."""

    def parse(text: str) -> int:
        digits = re.fullmatch(r"-?[0-9]{1,20}", text)
        if not digits or not lowest <= int(text) <= highest:
            raise KnobError(f"a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def parse_close_code(text: str) -> int:
    """Return a close code that a close frame may carry."""
    if not re.fullmatch(r"[0-9]{4}", text) or not is_sendable_close_code(int(text)):
        raise KnobError("a close code from 1000-1003, 1007-1014 or 3000-4999")
    return int(text)


def parse_close_reason(text: str) -> str:
    """Return a reason that fits in a close frame."""
    if len(text.encode()) > MAX_CLOSE_REASON_BYTES:
        raise KnobError(f"at most {MAX_CLOSE_REASON_BYTES} bytes of UTF-8")
    return text


def parse_subprotocol(text: str) -> str:
    """Return a subprotocol's name, or ``*`` for the client's first offer."""
    if not TOKEN.fullmatch(text):
        raise KnobError(
            "a subprotocol name (an HTTP token), or * for the first offered"
        )
    return text


def parse_flag(text: str) -> bool:
    """Return True for ``1``, False for ``0``."""
    if text not in ("0", "1"):
        raise KnobError("1 or 0")
    return text == "1"


count_of_messages = whole_number(0, MAX_MESSAGE_COUNT)

# Every knob but max_message_size, whose upper bound is the site's own cap.
PARSERS: dict[str, Callable[[str], Any]] = {
    "delay": parse_duration,
    "jitter": parse_share,
    "seed": whole_number(0, MAX_SEED),
    "close_code": parse_close_code,
    "close_reason": parse_close_reason,
    "close_after": count_of_messages,
    "close_delay": parse_duration,
    "drop_after": count_of_messages,
    "mute_after": count_of_messages,
    "hang": parse_duration,
    "reject": whole_number(400, 599),
    "failure_rate": parse_share,
    "rate": whole_number(1, MAX_RATE_MESSAGES_PER_SECOND),
    "subprotocol": parse_subprotocol,
    "handshake": parse_flag,
}
CLOSING_KNOBS = ("close_code", "close_reason", "close_after", "close_delay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """The effective settings of one echo connection; durations in seconds, sizes in bytes.

    ``None`` means that the knob was not given.
    """

    delay: float = 0.0
    jitter: float = 0.0
    seed: int | None = None
    close_code: int | None = None
    close_reason: str | None = None
    close_after: int | None = None
    close_delay: float | None = None
    drop_after: int | None = None
    mute_after: int | None = None
    hang: float = 0.0
    reject: int | None = None
    failure_rate: float | None = None
    max_message_size: int
    rate: int | None = None
    subprotocol: str | None = None
    handshake: bool = False
    ignored: tuple[str, ...] = ()

    @classmethod
    def from_query(cls, query_string: bytes, *, max_message_size: int) -> "Knobs":
        """Return the settings in a query string. Raises KnobError.

        ``max_message_size`` is the site's cap in bytes, which a knob can only lower.
        """
        parsers = PARSERS | {"max_message_size": whole_number(1, max_message_size)}
        given: dict[str, Any] = {}
        ignored: list[str] = []
        for name, text in parameters(query_string):
            if name not in parsers:
                ignored.append(name)
            elif name in given:
                raise KnobError(f"{name} is given twice: give it once")
            else:
                given[name] = parse_knob(parsers[name], name, text)
        refuse_contradictions(given)
        if any(name in given for name in CLOSING_KNOBS):
            given = dict(CLOSING_DEFAULTS) | given
        return cls(
            **{"max_message_size": max_message_size} | given,
            ignored=tuple(dict.fromkeys(ignored)),
        )

    @property
    def is_faithful(self) -> bool:
        """True if every message is echoed at once, without end."""
        return (
            not self.delay
            and self.close_after is None
            and self.drop_after is None
            and self.mute_after is None
            and self.rate is None
        )

    def random_generator(self) -> Random:
        """Return the connection's random numbers: the same ones for the same seed."""
        return Random(self.seed)

    def refusal(self, random: Random) -> int | None:
        """Return the status to refuse the handshake with, or None to accept it."""
        if self.failure_rate is None:
            return self.reject
        return (self.reject or 503) if random.random() < self.failure_rate else None

    def select_subprotocol(self, offered: list[str]) -> str | None:
        """Return one of the client's offers, or None."""
        if self.subprotocol == "*":
            return offered[0] if offered else None
        return self.subprotocol if self.subprotocol in offered else None

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON, with ``ignored``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"ignored": list(self.ignored)}


# If one of the closing knobs is given, these are the values of the others.
CLOSING_DEFAULTS = {
    "close_code": CloseCode.NORMAL_CLOSURE.value,
    "close_reason": "",
    "close_after": 0,
    "close_delay": 0.0,
}


def parameters(query_string: bytes) -> list[tuple[str, str]]:
    """Return the query string's names and values in order. Raises KnobError."""
    try:
        return parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except UnicodeDecodeError:
        raise KnobError("expected percent-encoded UTF-8 in the query string") from None
    except ValueError:
        raise KnobError(f"expected at most {MAX_PARAMETERS} parameters") from None


def parse_knob(parser: Callable[[str], Any], name: str, text: str) -> Any:
    """Return the knob's value. Raises KnobError with the knob's name and the value."""
    try:
        return parser(text)
    except KnobError as error:
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise KnobError(f"{name}: expected {error}, got {shown!r}") from None


def refuse_contradictions(given: dict[str, Any]) -> None:
    """Raise KnobError for ``drop_after`` together with a closing knob."""
    if "drop_after" not in given:
        return
    for name in CLOSING_KNOBS:
        if name in given:
            raise KnobError(
                f"drop_after and {name} contradict: a connection is dropped or closed, "
                "not both; leave one of them out"
            )
