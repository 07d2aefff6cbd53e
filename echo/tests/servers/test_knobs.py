"""Every knob of ``/echo`` over the wire: its effect, and its invalid values."""

import json
import time
from urllib.parse import quote

import pytest

from echo.tests.live import LiveSite
from echo.tests.servers.conftest import Connect
from echo.tests.servers.frames import (
    Connection,
    Frame,
    Opcode,
    Refused,
    close,
    encode,
    text,
)
from echo.tests.servers.test_backpressure import cpu_seconds
from echo.tests.servers.test_closing import code_of

TEXT, BINARY = Opcode.TEXT, Opcode.BINARY
CAP = 1024 * 1024

AT_A_BOUND = [
    "delay=0",
    "delay=0s",
    "delay=.5ms",
    "delay=10s",
    "delay=10",
    "delay=10000ms",
    "delay=9s1000ms",
    "jitter=0",
    "jitter=1",
    "jitter=1.0",
    "seed=0",
    f"seed={2**63 - 1}",
    *(f"close_after=9&close_code={n}" for n in (1000, 1003, 1007, 1014, 3000, 4999)),
    "close_after=9&close_reason=",
    "close_after=9&close_reason=" + "x" * 123,
    "close_after=9&close_reason=" + quote("小" * 41),
    "close_after=1000000",
    "close_after=9&close_delay=10s",
    "drop_after=1000000",
    "mute_after=0",
    "mute_after=1000000",
    "hang=0",
    "failure_rate=0",
    "max_message_size=1",
    f"max_message_size={CAP}",
    "rate=1",
    "rate=10000",
    "subprotocol=!#$%25%26'*%2B-.^_`|~aZ09",
    "handshake=0",
    "unknown",
    "unknown=1&unknown=2",
    "",
    "&&",
    "a=b&" * 99,
]
OUTSIDE = [
    "delay=10.001s",
    "delay=10.001",
    "delay=10001ms",
    "delay=-1s",
    "delay=%2B1s",
    "delay=",
    "delay=1h",
    "delay=1m",
    "delay=1e1",
    "delay=1s%20",
    "delay=inf",
    "delay=nan",
    "delay=%D9%A1",
    "jitter=1.01",
    "jitter=-0.1",
    "jitter=50%25",
    "seed=-1",
    "seed=1.5",
    f"seed={2**63}",
    *(f"close_code={n}" for n in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)),
    "close_code=normal",
    "close_code=01000",
    "close_reason=" + "x" * 124,
    "close_reason=" + quote("小" * 42),
    "close_reason=%FF",
    "close_after=-1",
    "close_after=1000001",
    "close_after=1.0",
    "close_delay=11s",
    "drop_after=-1",
    "drop_after=1000001",
    "mute_after=-1",
    "mute_after=many",
    "hang=10.5s",
    "reject=399",
    "reject=600",
    "reject=200",
    "reject=yes",
    "failure_rate=1.1",
    "failure_rate=-1",
    "max_message_size=0",
    f"max_message_size={CAP + 1}",
    "rate=0",
    "rate=10001",
    "rate=0.5",
    "subprotocol=",
    "subprotocol=two%20words",
    "subprotocol=a,b",
    "handshake=2",
    "handshake=true",
    "handshake=",
    "delay=1s&delay=1s",
    "seed=1&jitter=0&seed=2",
    "drop_after=1&close_after=1",
    "drop_after=1&close_code=1000",
    "drop_after=1&close_reason=x",
    "drop_after=1&close_delay=1s",
    "unknown=%FF",
    "a=b&" * 101,
]


def send_texts(connection: Connection, *payloads: str) -> None:
    connection.send(*(encode(TEXT, payload.encode()) for payload in payloads))


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("query", AT_A_BOUND)
def test_a_value_at_its_bound_is_taken(connect: Connect, query: str) -> None:
    connection = connect(f"/echo?{query}")
    connection.send_frame(Opcode.PING, b"open?")
    assert connection.frame() == Frame(Opcode.PONG, b"open?")


@pytest.mark.parametrize("query", OUTSIDE)
def test_a_value_that_cannot_be_honoured_is_refused(
    connect: Connect, query: str
) -> None:
    with pytest.raises(Refused) as refused:
        connect(f"/echo?{query}")
    assert refused.value.status == 400
    body = json.loads(refused.value.body)
    name = query.split("=")[0]
    if "unknown" not in query and "a=b" not in query and "%FF" not in query:
        assert name in body["detail"]


def test_replies_come_after_the_delay_in_order_and_the_delays_overlap(
    connect: Connect,
) -> None:
    connection = connect("/echo?delay=300ms")
    started = time.monotonic()
    send_texts(connection, *numbers(100))
    assert [connection.frame() for _ in range(100)] == list(map(text, numbers(100)))
    assert 0.3 <= time.monotonic() - started < 10  # one after the other: 30 s


def test_jitter_keeps_the_order(connect: Connect) -> None:
    connection = connect("/echo?delay=20ms&jitter=1&seed=7")
    send_texts(connection, *numbers(200))
    assert [connection.frame() for _ in range(200)] == list(map(text, numbers(200)))


def test_a_delayed_reply_keeps_its_type(connect: Connect) -> None:
    connection = connect("/echo?delay=1ms")
    for opcode, payload in ((TEXT, b""), (BINARY, b""), (BINARY, b"\xff")):
        connection.send_frame(opcode, payload)
        assert connection.frame() == Frame(opcode, payload)


def test_more_messages_than_may_wait_all_come_back(connect: Connect) -> None:
    connection = connect("/echo?delay=50ms")
    send_texts(connection, *numbers(1000))
    assert [connection.frame() for _ in range(1000)] == list(map(text, numbers(1000)))


def test_more_bytes_than_may_wait_all_come_back(connect: Connect) -> None:
    connection = connect("/echo?delay=50ms")
    payloads = [bytes([n]) * 400_000 for n in range(8)]
    connection.send(*(encode(BINARY, payload) for payload in payloads))
    assert [connection.frame().payload for _ in payloads] == payloads


def test_a_client_that_closes_is_answered_before_its_replies_are_due(
    connect: Connect,
) -> None:
    connection = connect("/echo?delay=10s")
    send_texts(connection, "too late")
    connection.send_frame(Opcode.CLOSE, close(4000, "enough").payload)
    assert connection.rest() == [close(4000, "enough")]


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 4999])
def test_the_server_closes_with_the_code_and_reason_asked_for(
    connect: Connect, code: int
) -> None:
    reason = "weil 小王子 es will"
    connection = connect(f"/echo?close_code={code}&close_reason={quote(reason)}")
    assert connection.frame() == close(code, reason)
    connection.send_frame(Opcode.CLOSE, close(code).payload)
    assert connection.rest() == []


@pytest.mark.parametrize("query", ["close_after=0", "close_delay=0", "close_reason="])
def test_a_closing_knob_alone_closes_1000_at_once(connect: Connect, query: str) -> None:
    assert connect(f"/echo?{query}").frame() == close(1000)


@pytest.mark.parametrize("count", [1, 3])
def test_the_server_closes_after_so_many_messages(connect: Connect, count: int) -> None:
    connection = connect(f"/echo?close_after={count}&close_code=4000")
    send_texts(connection, *numbers(10))
    expected = [*map(text, numbers(count)), close(4000)]
    assert [connection.frame() for _ in expected] == expected


def test_the_server_goes_on_echoing_until_the_close_delay_is_over(
    connect: Connect,
) -> None:
    connection = connect("/echo?close_delay=2s&close_code=4000")
    send_texts(connection, "one", "two")
    assert [connection.frame(), connection.frame()] == [text("one"), text("two")]
    assert connection.frame() == close(4000)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_connection_is_dropped_after_what_was_due(
    connect: Connect, count: int
) -> None:
    connection = connect(f"/echo?drop_after={count}&delay=50ms")
    send_texts(connection, *numbers(count))
    assert connection.rest() == list(map(text, numbers(count)))


def test_a_large_message_is_flushed_before_the_drop(connect: Connect) -> None:
    connection = connect("/echo?drop_after=1")
    connection.send_frame(BINARY, bytes(CAP))
    assert connection.rest() == [Frame(BINARY, bytes(CAP))]


def test_a_muted_echo_stays_open_and_answers_pings_only(connect: Connect) -> None:
    connection = connect("/echo?mute_after=2")
    send_texts(connection, *numbers(5))
    assert [connection.frame(), connection.frame()] == [text("0"), text("1")]
    connection.send_frame(Opcode.PING, b"still there?")
    assert connection.frame() == Frame(Opcode.PONG, b"still there?")
    connection.send_frame(Opcode.CLOSE, close(1000).payload)
    assert connection.rest() == [close(1000)]


def test_a_muted_echo_still_counts_and_closes(connect: Connect) -> None:
    connection = connect("/echo?mute_after=1&close_after=3&close_code=4000")
    send_texts(connection, *numbers(3))
    assert [connection.frame(), connection.frame()] == [text("0"), close(4000)]


def test_the_handshake_is_held_back(connect: Connect) -> None:
    started = time.monotonic()
    connection = connect("/echo?hang=200ms")
    assert time.monotonic() - started >= 0.2
    send_texts(connection, "open")
    assert connection.frame() == text("open")


def test_a_client_that_leaves_a_hanging_handshake_is_no_error(
    connect: Connect,
) -> None:
    with pytest.raises(TimeoutError):
        connect("/echo?hang=10s", timeout_seconds=0.1)


@pytest.mark.parametrize("status", [400, 404, 418, 426, 429, 499, 500, 503, 599])
def test_the_handshake_is_refused_with_the_status_asked_for(
    connect: Connect, status: int
) -> None:
    with pytest.raises(Refused) as refused:
        connect(f"/echo?reject={status}")
    assert refused.value.status == status
    assert json.loads(refused.value.body)["status_code"] == status


def test_a_failure_rate_of_one_refuses_every_handshake(connect: Connect) -> None:
    for query, status in (("failure_rate=1", 503), ("failure_rate=1&reject=429", 429)):
        with pytest.raises(Refused) as refused:
            connect(f"/echo?{query}")
        assert refused.value.status == status


def test_a_seed_decides_which_handshakes_fail(connect: Connect) -> None:
    def outcome(seed: int) -> int:
        try:
            return connect(f"/echo?failure_rate=0.5&seed={seed}").status
        except Refused as refused:
            return refused.status

    outcomes = [outcome(seed) for seed in range(20)]
    assert set(outcomes) == {101, 503}
    assert [outcome(seed) for seed in range(20)] == outcomes


@pytest.mark.parametrize("query", ["", "&delay=1ms"])
def test_a_lower_cap_is_kept(connect: Connect, query: str) -> None:
    connection = connect(f"/echo?max_message_size=10{query}")
    connection.send_frame(BINARY, bytes(10))
    assert connection.frame() == Frame(BINARY, bytes(10))
    connection.send_frame(TEXT, ("é" * 5).encode())
    assert connection.frame() == text("é" * 5)
    connection.send_frame(TEXT, ("é" * 5 + "x").encode())
    assert code_of(connection.frame()) == 1009


def test_a_message_over_the_rate_closes_1008(connect: Connect) -> None:
    """How many are taken is tested in test_misbehave.py, whose clock stands still."""
    connection = connect("/echo?rate=5")
    send_texts(connection, *numbers(1000))
    frames = [connection.frame()]
    while frames[-1].opcode != Opcode.CLOSE:
        frames.append(connection.frame())
    assert code_of(frames.pop()) == 1008
    assert frames == list(map(text, numbers(len(frames))))
    assert len(frames) < 1000


def test_as_many_messages_as_the_rate_are_taken(connect: Connect) -> None:
    connection = connect("/echo?rate=5")
    send_texts(connection, *numbers(5))
    assert [connection.frame() for _ in range(5)] == list(map(text, numbers(5)))


def test_knobs_combine(connect: Connect) -> None:
    connection = connect(
        "/echo?handshake=1&delay=20ms&jitter=0.5&seed=1&hang=10ms&mute_after=2"
        "&close_after=3&close_code=4444&close_reason=done&max_message_size=100"
        "&rate=100&subprotocol=*&failure_rate=0",
        Sec_WebSocket_Protocol="chat",
    )
    assert connection.headers["sec-websocket-protocol"] == "chat"
    settings = json.loads(connection.frame().payload)["settings"]
    assert (settings["delay"], settings["close_after"]) == (0.02, 3)
    send_texts(connection, *numbers(3))
    assert [connection.frame() for _ in range(3)] == [
        text("0"),
        text("1"),
        close(4444, "done"),
    ]


@pytest.mark.parametrize("name", ["delay", "hang", "close_delay", "jitter"])
def test_a_long_number_is_refused_at_once(
    quiet_site: LiveSite, connect: Connect, name: str
) -> None:
    """A regular expression that backtracks would block the process for minutes."""
    assert quiet_site.process is not None
    before = cpu_seconds(quiet_site.process.pid)
    with pytest.raises(Refused, match="400") as refused:
        connect(f"/echo?{name}={'1' * 8000}x")
    detail = json.loads(refused.value.body)["detail"]
    assert "in at most 40 characters" in detail
    assert len(detail) < 200
    assert quiet_site.get("/healthz").status_code == 200
    assert cpu_seconds(quiet_site.process.pid) - before < 5
