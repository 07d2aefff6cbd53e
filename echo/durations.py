"""Parses durations and decimal numbers: ``250ms``, ``1m30s``, ``0.25``.

The texts come from clients, so the time is linear in their length: possessive quantifiers
(``++``) do not backtrack, and longer texts are rejected unread.
"""

import re
from collections.abc import Mapping

# Longer than any duration needs.
MAX_CHARACTERS = 40

NUMBER = r"(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)"
DECIMAL = re.compile(NUMBER)
PART = re.compile(rf"({NUMBER})([a-zµμ]++)")


def remedy(text: str) -> str:
    """Return the addition to an error about a text that is too long, or ""."""
    too_long = len(text) > MAX_CHARACTERS
    return f", in at most {MAX_CHARACTERS} characters" if too_long else ""


def parse_decimal(text: str) -> float | None:
    """Return a number of digits and at most one dot, or None for any other text."""
    if len(text) > MAX_CHARACTERS or not DECIMAL.fullmatch(text):
        return None
    return float(text)


def parse_duration(text: str, units: Mapping[str, float]) -> float | None:
    """Return seconds, from numbers with units or one plain number; None for other text.

    ``units`` has the seconds in each unit.
    """
    if len(text) > MAX_CHARACTERS or not text:
        return None
    if DECIMAL.fullmatch(text):
        return float(text)
    seconds, position = 0.0, 0
    while position < len(text):
        part = PART.match(text, position)
        if part is None or part[2] not in units:
            return None
        seconds += float(part[1]) * units[part[2]]
        position = part.end()
    return seconds
