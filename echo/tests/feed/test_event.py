"""One event and the other frames, in each of their wire forms."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echo.feed.event import Event, Notice, encode_data, reset, wire_time
from echo.protocol import MAX_DATA_BYTES, EventId, FeedError, TooLarge

EPOCH = "k3Zp9w1q"
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=10,
)


def event(number: int = 1042, previous: int | None = 1037, data: str = '"x"') -> Event:
    return Event(EPOCH, number, "news.eu", previous, "2026-11-20T11:03:32.345Z", data)


@given(JSON_VALUES)
@example("CR\r LF\n FF\f NEL\x85 LS\u2028 PS\u2029 FS\x1c")
def test_data_is_json_on_one_line_whoever_counts_the_lines(data: Any) -> None:
    text = encode_data(data)
    assert json.loads(text) == data
    assert len(text.splitlines()) == 1


def test_data_of_64_kib_is_taken_and_a_byte_more_is_not() -> None:
    longest = "x" * (MAX_DATA_BYTES - 2)  # and its two quotes
    assert len(encode_data(longest)) == MAX_DATA_BYTES
    with pytest.raises(TooLarge, match="at most 65536 bytes of JSON, got 65537"):
        encode_data(longest + "x")


def test_the_limit_counts_bytes_and_not_characters() -> None:
    with pytest.raises(TooLarge):
        encode_data("小" * (MAX_DATA_BYTES // 3))


@pytest.mark.parametrize("data", [float("nan"), float("inf"), {1, 2}, "\ud800", b"x"])
def test_what_is_not_json_is_refused(data: object) -> None:
    with pytest.raises(FeedError, match="data: expected a JSON value"):
        encode_data(data)


def test_data_that_contains_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(FeedError, match="data: expected a JSON value"):
        encode_data(ring)


def test_times_are_utc_with_milliseconds() -> None:
    moment = datetime(2026, 11, 20, 12, 3, 32, 345678, timezone(timedelta(hours=1)))
    assert wire_time(moment) == "2026-11-20T11:03:32.345Z"
    assert wire_time(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"


def test_an_event_is_the_json_object_of_the_contract() -> None:
    assert list(json.loads(event().json).items()) == [
        ("type", "event"),
        ("id", "k3Zp9w1q-1042"),
        ("previous", "k3Zp9w1q-1037"),
        ("topic", "news.eu"),
        ("sent_at", "2026-11-20T11:03:32.345Z"),
        ("data", "x"),
    ]


def test_the_first_event_of_a_topic_has_no_previous_one() -> None:
    assert json.loads(event(previous=None).json)["previous"] is None


def test_an_event_in_a_stream_is_unnamed_and_carries_its_id() -> None:
    assert event().sse == f"id: k3Zp9w1q-1042\ndata: {event().json}\n\n".encode()


def test_each_wire_form_is_made_once() -> None:
    once = event()
    assert once.json is once.json
    assert once.message is once.message
    assert once.sse is once.sse
    assert once.message == {"type": "websocket.send", "text": once.json}


def test_an_event_survives_the_channel_layer() -> None:
    sent = event(data='{"a":["小王子"]}')
    assert Event(EPOCH, *sent.packed()).json == sent.json


def test_a_notice_in_a_stream_is_named_and_moves_the_cursor() -> None:
    heartbeat = Notice("heartbeat", EventId(EPOCH, 1050))
    assert heartbeat.sse == (
        b"event: heartbeat\nid: k3Zp9w1q-1050\n"
        b'data: {"type":"heartbeat","last_event_id":"k3Zp9w1q-1050"}\n\n'
    )


def test_a_reset_names_what_was_asked_and_where_the_stream_goes_on() -> None:
    notice = reset("expired", EventId(EPOCH, 3), EventId(EPOCH, 9))
    assert json.loads(notice.json) == {
        "type": "reset",
        "reason": "expired",
        "asked": "k3Zp9w1q-3",
        "last_event_id": "k3Zp9w1q-9",
    }


def test_a_bye_tells_an_event_source_when_to_come_back() -> None:
    bye = Notice("bye", code=4001, reason="shutdown", retry_ms=1830)
    assert bye.sse == (
        b"event: bye\nretry: 1830\n"
        b'data: {"type":"bye","code":4001,"reason":"shutdown","retry_ms":1830}\n\n'
    )


@pytest.mark.parametrize("data", ["x" * 100, "é" * 100, "小王子" * 100, "🎉" * 100])
def test_an_events_size_is_counted_in_bytes(data: str) -> None:
    event = Event("k3Zp9w1q", 1, "news", None, "2026-11-20T11:03:32.345Z", f'"{data}"')
    assert event.size == len(event.message["text"].encode())
