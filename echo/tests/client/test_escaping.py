"""Text from the wire never controls the terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo.client.escaping import escape, escape_bytes, escape_json, is_unsafe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("hello, world", "hello, world"),
        ("a\tb\r\nc", r"a\tb\r\nc"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x7f\x9b", r"\x7f\x9b"),
        ("abc\u202edcba", r"abc\u202edcba"),
        ("line\u2028line", r"line\u2028line"),
        ("你好\u3000小王子", "你好\u3000小王子"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_control_and_format_characters_are_escaped_and_text_is_not(
    text: str, shown: str
) -> None:
    assert escape(text) == shown


@given(st.text())
def test_nothing_unsafe_is_left(text: str) -> None:
    assert not any(map(is_unsafe, escape(text)))


@given(st.binary())
def test_bytes_are_shown_whatever_they_are(data: bytes) -> None:
    assert not any(map(is_unsafe, escape_bytes(data)))


def test_bytes_that_are_no_utf_8_are_shown_one_by_one() -> None:
    assert escape_bytes("né".encode() + b"\xff\x00") == r"né\xff\x00"


@given(st.text())
def test_escaped_json_has_the_same_value(text: str) -> None:
    line = escape_json(json.dumps({"data": text}, ensure_ascii=False))
    assert not any(map(is_unsafe, line))
    assert json.loads(line) == {"data": text}
