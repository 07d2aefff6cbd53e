"""Every connection ends with a close frame and a code, never with a TCP reset."""

import socket
import struct

import pytest

from echo.tests.servers.conftest import Connect
from echo.tests.servers.frames import Frame, Opcode, close, encode, text

CAP = 1024 * 1024
CONT, TEXT, BINARY, CLOSE, PING = (
    Opcode.CONT,
    Opcode.TEXT,
    Opcode.BINARY,
    Opcode.CLOSE,
    Opcode.PING,
)
SENDABLE = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4321, 4999]
FORBIDDEN = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


def code_of(frame: Frame) -> int:
    """Return the frame's close code. Fails for another frame, or an invalid reason."""
    assert frame.opcode == CLOSE, frame
    frame.payload[2:].decode()
    return int(struct.unpack("!H", frame.payload[:2])[0])


@pytest.mark.parametrize("code", SENDABLE)
def test_the_clients_code_and_reason_come_back(connect: Connect, code: int) -> None:
    connection = connect()
    connection.send_frame(CLOSE, close(code, "grund: für 小王子").payload)
    assert connection.rest() == [close(code, "grund: für 小王子")]


@pytest.mark.parametrize("code", FORBIDDEN)
def test_messages_followed_by_a_wrong_close_in_one_packet_come_back_first(
    connect: Connect, code: int
) -> None:
    connection = connect()
    connection.send(encode(TEXT, b"one"), encode(CLOSE, struct.pack("!H", code)))
    message, end = connection.rest()
    assert message == text("one")
    assert code_of(end) == 1002


@pytest.mark.parametrize("reason", ["", "x" * 123])
def test_a_reason_of_any_length_comes_back(connect: Connect, reason: str) -> None:
    connection = connect()
    connection.send_frame(CLOSE, close(1000, reason).payload)
    assert connection.rest() == [close(1000, reason)]


def test_a_close_without_a_code_is_answered_without_a_code(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(CLOSE)
    assert connection.rest() == [Frame(CLOSE)]


def test_a_close_in_a_fragmented_message_is_a_close(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(TEXT, b"unfinished", fin=False)
    connection.send_frame(CLOSE, close(1000).payload)
    assert connection.rest() == [close(1000)]


def test_what_follows_a_close_is_discarded(connect: Connect) -> None:
    connection = connect()
    connection.send(
        encode(TEXT, b"before"),
        encode(CLOSE, close(1000).payload),
        encode(TEXT, b"after"),
        encode(PING, b"after"),
        encode(3, b"after", mask=False),
    )
    assert connection.rest() == [text("before"), close(1000)]


def test_a_client_that_leaves_without_a_close_is_no_error(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(TEXT, b"hello")
    assert connection.frame() == text("hello")
    connection.socket.close()


def test_a_half_close_ends_the_stream(connect: Connect) -> None:
    connection = connect()
    connection.socket.shutdown(1)
    assert connection.rest() == []


def test_what_came_before_a_half_close_is_answered(connect: Connect) -> None:
    messages = [text(f"message {number}") for number in range(5)]
    data = [encode(message.opcode, message.payload) for message in messages]
    for _ in range(200):
        with connect() as connection:
            connection.send(*data, encode(CLOSE, close(4321, "bye").payload))
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.rest() == [*messages, close(4321, "bye")]


def test_messages_before_a_half_close_without_a_close_are_answered(
    connect: Connect,
) -> None:
    messages = [text(f"message {number}") for number in range(5)]
    for _ in range(20):
        with connect() as connection:
            connection.send(*(encode(m.opcode, m.payload) for m in messages))
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.rest() == messages


@pytest.mark.parametrize("part", [b"", encode(TEXT, b"x", fin=False), b"\x81"])
def test_a_half_close_within_a_message_ends_the_stream(
    connect: Connect, part: bytes
) -> None:
    connection = connect()
    connection.send(part)
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.rest() == []


def test_a_half_close_after_the_servers_close_ends_the_stream(connect: Connect) -> None:
    connection = connect("/echo?close_after=1&close_code=4000")
    connection.send_frame(TEXT, b"one")
    assert [connection.frame(), connection.frame()] == [text("one"), close(4000)]
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.rest() == []


@pytest.mark.parametrize("code", FORBIDDEN)
def test_a_code_that_must_not_be_sent_is_a_protocol_error(
    connect: Connect, code: int
) -> None:
    connection = connect()
    connection.send_frame(CLOSE, struct.pack("!H", code))
    assert [code_of(frame) for frame in connection.rest()] == [1002]


def test_half_a_close_code_is_a_protocol_error(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(CLOSE, b"\x03")
    assert [code_of(frame) for frame in connection.rest()] == [1002]


def test_a_reason_that_is_not_utf_8_is_invalid_data(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(CLOSE, struct.pack("!H", 1000) + b"\xff\xfe")
    assert [code_of(frame) for frame in connection.rest()] == [1007]


PROTOCOL_ERRORS = {
    "RSV1": encode(TEXT, b"x", rsv=4),
    "RSV2": encode(BINARY, b"x", rsv=2),
    "RSV3": encode(PING, b"x", rsv=1),
    "every RSV bit": encode(TEXT, b"x", rsv=7),
    **{f"opcode {n}": encode(n, b"x") for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "unmasked text": encode(TEXT, b"x", mask=False),
    "unmasked close": encode(CLOSE, close(1000).payload, mask=False),
    "unmasked ping": encode(PING, b"x", mask=False),
    "ping of 126 bytes": encode(PING, bytes(126)),
    "close of 126 bytes": encode(CLOSE, struct.pack("!H", 1000) + b"x" * 124),
    "fragmented ping": encode(PING, b"x", fin=False),
    "fragmented close": encode(CLOSE, close(1000).payload, fin=False),
    "continuation of nothing": encode(CONT, b"x"),
    "open continuation of nothing": encode(CONT, b"x", fin=False),
    "text inside a fragmented text": (
        encode(TEXT, b"x", fin=False) + encode(TEXT, b"x")
    ),
    "binary inside a fragmented text": (
        encode(TEXT, b"x", fin=False) + encode(BINARY, b"x")
    ),
    "5 in 16 bits of length": encode(TEXT, b"hello", length_bits=16),
    "125 in 16 bits of length": encode(BINARY, bytes(125), length_bits=16),
    "126 in 64 bits of length": encode(BINARY, bytes(126), length_bits=64),
    "65535 in 64 bits of length": encode(BINARY, bytes(65535), length_bits=64),
    "a ping's length in 16 bits": encode(PING, b"x", length_bits=16),
    "a length with the highest bit": encode(
        BINARY, b"x", length_bits=64, length=1 << 63
    ),
}


@pytest.mark.parametrize("wrong", PROTOCOL_ERRORS.values(), ids=PROTOCOL_ERRORS)
def test_a_protocol_error_closes_1002(connect: Connect, wrong: bytes) -> None:
    connection = connect()
    connection.send(wrong)
    assert [code_of(frame) for frame in connection.rest()] == [1002]


@pytest.mark.parametrize("wrong", PROTOCOL_ERRORS.values(), ids=PROTOCOL_ERRORS)
def test_messages_followed_by_an_error_in_one_packet_come_back_first(
    connect: Connect, wrong: bytes
) -> None:
    connection = connect()
    connection.send(
        encode(TEXT, b"one"), encode(TEXT, b"two"), wrong, encode(TEXT, b"after")
    )
    *messages, end = connection.rest()
    assert messages == [text("one"), text("two")]
    assert code_of(end) == 1002


@pytest.mark.parametrize("code", [1004, 4321])
def test_a_close_that_crosses_the_servers_own_ends_the_stream(
    connect: Connect, code: int
) -> None:
    connection = connect("/echo?close_after=1&close_code=4000")
    connection.send(
        encode(TEXT, b"one"), encode(TEXT, b"two"), encode(CLOSE, close(code).payload)
    )
    assert connection.rest() == [text("one"), close(4000)]


INVALID_UTF_8 = {
    "a lone continuation byte": b"ok \x80",
    "an overlong slash": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "a byte that never occurs": b"\xff",
    "a code point cut short": "é".encode()[:1],
}


@pytest.mark.parametrize("payload", INVALID_UTF_8.values(), ids=INVALID_UTF_8)
def test_invalid_utf_8_closes_1007(connect: Connect, payload: bytes) -> None:
    connection = connect()
    connection.send_frame(TEXT, payload)
    assert [code_of(frame) for frame in connection.rest()] == [1007]


def test_invalid_utf_8_fails_before_the_end_of_the_message(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(TEXT, "fine: é".encode(), fin=False)
    connection.send_frame(CONT, b"wrong: \xff", fin=False)
    assert [code_of(frame) for frame in connection.rest()] == [1007]


def test_a_code_point_cut_short_by_the_last_fragment_closes_1007(
    connect: Connect,
) -> None:
    connection = connect()
    connection.send_frame(TEXT, "小".encode()[:2], fin=False)
    connection.send_frame(CONT)
    assert [code_of(frame) for frame in connection.rest()] == [1007]


def test_binary_need_not_be_utf_8(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(BINARY, b"\xff\xfe", fin=False)
    connection.send_frame(CONT, b"\x80")
    assert connection.frame() == Frame(BINARY, b"\xff\xfe\x80")


@pytest.mark.parametrize("size", [CAP + 1, 4 * 1024 * 1024, 32 * 1024 * 1024])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_over_the_cap_closes_1009_while_it_is_still_being_sent(
    connect: Connect, opcode: Opcode, size: int
) -> None:
    connection = connect()
    connection.send_frame(opcode, b"x" * size)
    assert [code_of(frame) for frame in connection.rest()] == [1009]


@pytest.mark.parametrize("length", [1 << 40, 1 << 62, (1 << 63) - 1])
def test_a_length_over_the_cap_is_refused_before_the_payload(
    connect: Connect, length: int
) -> None:
    connection = connect()
    connection.send_frame(BINARY, length_bits=64, length=length)
    assert [code_of(frame) for frame in connection.rest()] == [1009]


def test_fragments_are_over_the_cap_together(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(BINARY, bytes(CAP // 2), fin=False)
    connection.send_frame(CONT, bytes(CAP // 2), fin=False)
    connection.send_frame(CONT, b"x", fin=False)
    connection.send(*(encode(CONT, bytes(65536), fin=False) for _ in range(64)))
    assert [code_of(frame) for frame in connection.rest()] == [1009]


def test_fragments_of_exactly_the_cap_pass(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(BINARY, bytes(CAP // 2), fin=False)
    connection.send_frame(CONT, bytes(CAP // 2))
    assert connection.frame() == Frame(BINARY, bytes(CAP))


def test_the_cap_counts_bytes_not_characters(connect: Connect) -> None:
    connection = connect()
    fits = "小" * (CAP // 3)
    connection.send_frame(TEXT, fits.encode())
    assert connection.frame() == text(fits)
    connection.send_frame(TEXT, (fits + "小").encode())
    assert [code_of(frame) for frame in connection.rest()] == [1009]


def test_a_ping_between_the_fragments_does_not_count_towards_the_cap(
    connect: Connect,
) -> None:
    connection = connect()
    connection.send_frame(BINARY, bytes(CAP), fin=False)
    connection.send_frame(PING, b"x" * 125)
    assert connection.frame() == Frame(Opcode.PONG, b"x" * 125)
    connection.send_frame(CONT)
    assert connection.frame() == Frame(BINARY, bytes(CAP))


def test_a_fragment_after_the_last_one_is_a_protocol_error_in_any_encoding(
    connect: Connect,
) -> None:
    """It belongs to no text, so it is not checked as one."""
    connection = connect()
    connection.send_frame(TEXT, b"who", fin=False)
    connection.send_frame(CONT, b"le")
    assert connection.frame() == text("whole")
    connection.send_frame(CONT, b"\xff")
    assert [code_of(frame) for frame in connection.rest()] == [1002]
