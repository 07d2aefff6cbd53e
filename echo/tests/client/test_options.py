"""The parsers of the options: valid and invalid values."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

import pytest

from echo.client import options as values
from echo.client.options import Options, parse_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("ws://localhost:8000/echo", "ws://localhost:8000/echo"),
        ("wss://example.com/echo", "wss://example.com/echo"),
        ("http://example.com/echo", "ws://example.com/echo"),
        ("https://example.com:8443/", "wss://example.com:8443/"),
        ("localhost:8000/echo", "ws://localhost:8000/echo"),
        ("localhost:8000", "ws://localhost:8000/"),
        ("example.com/a b?c=d e&f=%20", "ws://example.com/a%20b?c=d%20e&f=%20"),
        ("ws://[::1]:8000/echo", "ws://[::1]:8000/echo"),
        ("ws://bücher.example/你", "ws://xn--bcher-kva.example/%E4%BD%A0"),
        ("ws://user:secret@example.com/", "ws://example.com/"),
    ],
)
def test_an_address_may_be_written_in_many_ways(text: str, url: str) -> None:
    assert Options(uri=parse_url(text)).url == url


def test_a_user_and_password_are_for_the_handshake() -> None:
    assert parse_url("ws://user:p%40ss@example.com/").user_info == ("user", "p@ss")


@pytest.mark.parametrize(
    "text",
    [
        "ftp://example.com/",
        "ws://",
        "ws://:8000/echo",
        "ws://example.com:port/",
        "ws://example.com:99999/",
        "ws://example.com/#fragment",
        "ws://user@example.com/",
        "ws://[::1/",
        f"ws://{'a' * 64}.example/",
        "ws://two..dots/",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="expected a ws://, wss://"):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2", 2), (".5", 0.5), ("250ms", 0.25), ("1.5s", 1.5), ("1m30s", 90), ("0", 0)],
)
def test_durations_are_written_as_in_go_or_in_seconds(
    text: str, seconds: float
) -> None:
    assert values.parse_duration(text) == pytest.approx(seconds)


def test_a_header_is_a_name_and_a_value() -> None:
    assert values.parse_header("X-Day:  a: b ") == ("X-Day", "a: b")
    assert values.parse_header("X-Empty:") == ("X-Empty", "")


def test_a_close_reason_may_fill_its_frame() -> None:
    assert values.parse_close_reason("é" * 61) == "é" * 61


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (values.parse_duration, "soon"),
        (values.parse_duration, "-1"),
        (values.parse_duration, "1 s"),
        (values.parse_duration, ""),
        (values.parse_positive_duration, "0ms"),
        (values.parse_count, "0"),
        (values.parse_count, "1.5"),
        (values.parse_count, "-1"),
        (values.parse_header, "no colon"),
        (values.parse_header, "two words: x"),
        (values.parse_header, "X-Two: lines\r\nX-Injected: 1"),
        (values.parse_header, "X-Chinese: 你好"),
        (values.parse_origin, "http://a\nb"),
        (values.parse_subprotocol, "chat, superchat"),
        (values.parse_subprotocol, ""),
        (values.parse_close_code, "1006"),
        (values.parse_close_code, "999"),
        (values.parse_close_code, "5000"),
        (values.parse_close_code, "x"),
        (values.parse_close_reason, "é" * 62),
        (values.parse_close_reason, "\udcff"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    parse: Callable[[str], Any], text: str
) -> None:
    with pytest.raises(ArgumentTypeError, match="expected .*got"):
        parse(text)
