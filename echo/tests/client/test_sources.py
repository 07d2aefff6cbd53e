"""The sources of messages."""

import os
import select
from pathlib import Path

import pytest

from echo.client.errors import ClientError, ExitCode
from echo.client.sources import (
    MAX_BATCHES_AHEAD,
    READ_BYTES,
    Chain,
    Clock,
    Form,
    Lines,
    Listed,
    Payload,
    Source,
    encode,
)


async def all_of(source: Source) -> list[Payload]:
    messages = []
    while (message := await source.next()) is not None:
        messages.append(message)
    return messages


@pytest.mark.parametrize(
    ("written", "form", "message"),
    [
        ("né".encode(), Form.TEXT, "né"),
        (b"", Form.TEXT, ""),
        (b"\xff", Form.BINARY, b"\xff"),
        (b"00 ff1B", Form.HEX, b"\x00\xff\x1b"),
        (b"AP8b", Form.BASE64, b"\x00\xff\x1b"),
        (b"", Form.HEX, b""),
    ],
)
def test_a_message_is_text_or_binary_in_three_ways(
    written: bytes, form: Form, message: Payload
) -> None:
    assert encode(written, form) == message


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (b"\xff", Form.TEXT),
        (b"0", Form.HEX),
        (b"xy", Form.HEX),
        (b"\xff", Form.HEX),
        (b"AP8", Form.BASE64),
        (b"AP 8b", Form.BASE64),
    ],
)
def test_a_message_that_is_not_what_it_claims_is_a_usage_error(
    written: bytes, form: Form
) -> None:
    with pytest.raises(ClientError, match="expected .* got") as error:
        encode(written, form)
    assert error.value.exit_code is ExitCode.USAGE


async def test_listed_messages_come_in_order_as_often_as_asked() -> None:
    assert await all_of(Listed(["a", "b"], 2)) == ["a", "b", "a", "b"]
    assert await all_of(Listed([], 3)) == []


async def test_the_clock_ends_after_its_count() -> None:
    first, second = await all_of(Clock(Form.TEXT, 2))
    assert isinstance(first, str)
    assert isinstance(second, str)
    assert first < second  # RFC 3339 in UTC sorts as text
    assert first.endswith("Z")


async def test_a_chain_gives_one_source_after_another() -> None:
    chain = Chain(Listed(["a"], 1), Listed([], 1), Listed(["b"], 1))
    assert await all_of(chain) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\n\nno line end", ["a", "", "no line end"]),
        ("né\n".encode() * 40_000, ["né"] * 40_000),
    ],
)
async def test_each_line_of_a_file_is_a_message(
    content: bytes, lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert await all_of(Lines(file.fileno(), Form.TEXT)) == lines


async def test_standard_input_that_is_closed_has_no_lines() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    assert await all_of(Lines(reading, Form.TEXT)) == []


async def test_lines_that_are_not_taken_stay_in_the_pipe() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    source = Lines(reading, Form.TEXT)
    bound = (MAX_BATCHES_AHEAD + 4) * READ_BYTES
    stream = b"line\n" * bound
    written = os.write(writing, stream[:5])
    assert await source.next() == "line"
    while select.select([], [writing], [], 1.0)[1]:
        written += os.write(writing, stream[written : written + READ_BYTES])
        assert written < bound
    os.close(writing)
    *lines, _ = await all_of(source)
    assert set(lines) == {"line"}
    os.close(reading)
