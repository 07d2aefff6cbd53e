"""``/echo`` sends back exactly the messages that it receives."""

import itertools

import pytest

from echo.tests.servers.conftest import Connect
from echo.tests.servers.frames import Frame, Opcode, binary, close, encode, text

CAP = 1024 * 1024
CONT, TEXT, BINARY, PING, PONG = (
    Opcode.CONT,
    Opcode.TEXT,
    Opcode.BINARY,
    Opcode.PING,
    Opcode.PONG,
)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, CAP])
def test_a_message_comes_back_with_its_type_in_one_unmasked_frame(
    connect: Connect, opcode: Opcode, size: int
) -> None:
    connection = connect()
    payload = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    connection.send_frame(opcode, payload)
    assert connection.frame() == Frame(opcode, payload)


def test_every_byte_value_comes_back(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(BINARY, bytes(range(256)))
    assert connection.frame() == binary(bytes(range(256)))


@pytest.mark.parametrize("payload", ["小王子", "🎉", "\x00", "\ufeff", "é\u0301"])
def test_text_comes_back_byte_for_byte(connect: Connect, payload: str) -> None:
    connection = connect()
    connection.send_frame(TEXT, payload.encode())
    assert connection.frame() == text(payload)


def test_messages_come_back_in_order(connect: Connect) -> None:
    connection = connect()
    messages = [
        text(f"message {n}") if n % 3 else binary(bytes(n % 7)) for n in range(600)
    ]
    connection.send(*(encode(m.opcode, m.payload) for m in messages))
    assert [connection.frame() for _ in messages] == messages


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize(
    "fragments",
    [
        ["one", " and ", "two"],
        ["", "", ""],
        ["", "late"],
        ["early", ""],
        list("a letter at a time"),
    ],
)
def test_fragments_come_back_as_one_frame(
    connect: Connect, opcode: Opcode, fragments: list[str]
) -> None:
    connection = connect()
    first, *others = (fragment.encode() for fragment in fragments)
    connection.send_frame(opcode, first, fin=False)
    for fragment in others[:-1]:
        connection.send_frame(CONT, fragment, fin=False)
    connection.send_frame(CONT, others[-1])
    assert connection.frame() == Frame(opcode, "".join(fragments).encode())


def test_a_code_point_may_be_split_over_fragments(connect: Connect) -> None:
    connection = connect()
    first, *middle, last = (bytes([byte]) for byte in "🎉".encode())
    connection.send_frame(TEXT, first, fin=False)
    for byte in middle:
        connection.send_frame(CONT, byte, fin=False)
    connection.send_frame(CONT, last)
    assert connection.frame() == text("🎉")


def test_a_frame_may_arrive_a_byte_at_a_time(connect: Connect) -> None:
    connection = connect()
    for byte in encode(TEXT, "slow 小".encode()):
        connection.send(bytes([byte]))
    assert connection.frame() == text("slow 小")


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(125))])
def test_a_ping_is_answered_with_its_payload(connect: Connect, payload: bytes) -> None:
    connection = connect()
    connection.send_frame(PING, payload)
    assert connection.frame() == Frame(PONG, payload)


def test_pings_are_answered_between_fragments(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(TEXT, b"be", fin=False)
    connection.send_frame(PING, b"1")
    assert connection.frame() == Frame(PONG, b"1")
    connection.send_frame(CONT, b"tween", fin=False)
    connection.send_frame(PING, b"2")
    assert connection.frame() == Frame(PONG, b"2")
    connection.send_frame(CONT)
    assert connection.frame() == text("between")


def test_many_pings_in_one_packet_are_answered_in_order(connect: Connect) -> None:
    connection = connect()
    connection.send(*(encode(PING, b"%d" % n) for n in range(50)))
    assert [connection.frame() for _ in range(50)] == [
        Frame(PONG, b"%d" % n) for n in range(50)
    ]


def test_nothing_is_sent_that_was_not_asked_for(connect: Connect) -> None:
    connection = connect()
    connection.send_frame(PONG, b"unsolicited")
    connection.send_frame(TEXT, b"frag", fin=False)
    connection.send_frame(PONG)
    connection.send_frame(CONT, b"mented")
    assert connection.frame() == text("fragmented")
    connection.send_frame(Opcode.CLOSE, close(1000).payload)
    assert connection.rest() == [close(1000)]


def test_connections_do_not_mix(connect: Connect) -> None:
    connections = [connect() for _ in range(20)]
    for number, connection in enumerate(connections):
        connection.send_frame(TEXT, b"mine is %d" % number)
    for number, connection in enumerate(connections):
        assert connection.frame() == text(f"mine is {number}")


def test_messages_followed_by_a_close_in_one_packet_come_back_first(
    connect: Connect,
) -> None:
    connection = connect()
    messages = [text(f"{n}") for n in range(100)]
    connection.send(
        *(encode(m.opcode, m.payload) for m in messages),
        encode(Opcode.CLOSE, close(4321, "bye").payload),
    )
    assert connection.rest() == [*messages, close(4321, "bye")]


def test_a_large_message_followed_by_a_close_comes_back_first(connect: Connect) -> None:
    connection = connect()
    connection.send(
        encode(BINARY, bytes(CAP)), encode(Opcode.CLOSE, close(1000).payload)
    )
    assert connection.rest() == [binary(bytes(CAP)), close(1000)]


def test_types_alternate_freely(connect: Connect) -> None:
    connection = connect()
    for opcode, size in itertools.product((TEXT, BINARY), (0, 200, 70_000)):
        connection.send_frame(opcode, b"x" * size)
        assert connection.frame() == Frame(opcode, b"x" * size)
