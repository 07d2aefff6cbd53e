"""Escapes text from the wire, so that it is safe on a terminal."""

import json
import unicodedata

# Cc and Cf move cursors and turn text around; Zl and Zp end lines; the rest has no glyph.
UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Cf, and yet part of ordinary text: the joiners of emoji and of Persian or Hindi words.
JOINERS = frozenset("\u200c\u200d")


def escape(text: str) -> str:
    """Return the text with control and format characters escaped as in Python: ``\\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(escape_character, text))


def escape_character(character: str) -> str:
    return repr(character)[1:-1] if is_unsafe(character) else character


def is_unsafe(character: str) -> bool:
    """Return True for a character that a terminal may act on or not show."""
    unsafe = unicodedata.category(character) in UNSAFE_CATEGORIES
    return unsafe and character not in JOINERS


def escape_bytes(data: bytes) -> str:
    """Return bytes as UTF-8 text, with invalid ones as ``\\xff``."""
    return escape(data.decode(errors="backslashreplace"))


def escape_json(line: str) -> str:
    """Return a line of JSON with the same characters as ``\\u`` escapes."""
    return "".join(json.dumps(c)[1:-1] if is_unsafe(c) else c for c in line)
