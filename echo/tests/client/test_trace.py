"""The trace of one direction: a handshake, then frames or a refusal's body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from echo.client.frames import WireFrame
from echo.client.trace import SHOWN_PAYLOAD_BYTES, WireBytes, WireTrace

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
REQUEST = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"
HELLO = Frame(Opcode.TEXT, b"hello").serialize(mask=False)


@pytest.mark.parametrize("head", [SWITCH, REQUEST])
def test_frames_follow_the_handshake_even_in_the_same_packet(head: bytes) -> None:
    handshake, frame = WireTrace().feed(head + HELLO)
    assert handshake == WireBytes("handshake", head)
    assert isinstance(frame, WireFrame)
    assert frame.payload == b"hello"


def test_a_handshake_is_shown_when_it_is_whole() -> None:
    trace = WireTrace()
    assert trace.feed(SWITCH[:-1]) == []
    assert trace.feed(SWITCH[-1:]) == [WireBytes("handshake", SWITCH)]


def test_what_follows_a_refusal_is_its_body() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n"
    trace = WireTrace()
    assert trace.feed(head + b"\x81\x00") == [
        WireBytes("handshake", head),
        WireBytes("body", b"\x81\x00"),
    ]
    assert trace.feed(b"abc") == [WireBytes("body", b"abc")]
    assert trace.end() == []


def test_the_end_shows_a_handshake_that_was_cut_off() -> None:
    trace = WireTrace()
    trace.feed(b"HTTP/1.1 10")
    assert trace.end() == [WireBytes("handshake", b"HTTP/1.1 10")]


def test_the_end_shows_a_frame_that_was_cut_off() -> None:
    trace = WireTrace()
    trace.feed(SWITCH + HELLO[:4])
    assert trace.end() == [WireBytes("unfinished frame", HELLO[:4])]


def test_a_huge_frame_is_cut() -> None:
    huge = Frame(Opcode.BINARY, bytes(100_000)).serialize(mask=False)
    _, frame = WireTrace().feed(SWITCH + huge)
    assert isinstance(frame, WireFrame)
    assert frame.length == 100_000
    assert len(frame.payload) == SHOWN_PAYLOAD_BYTES


@given(st.lists(st.binary(max_size=200) | st.just(SWITCH), max_size=6))
def test_arbitrary_bytes_are_all_shown(stream: list[bytes]) -> None:
    trace = WireTrace()
    items = [item for piece in stream for item in trace.feed(piece)] + trace.end()
    shown = b"".join(
        item.data if isinstance(item, WireBytes) else item.header + item.wire_payload
        for item in items
    )
    assert shown == b"".join(stream)
