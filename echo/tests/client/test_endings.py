"""The end of a run of ``manage.py wsclient``: every exit code, and its text."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from echo.tests.client.peers import RawServer, switching
from echo.tests.client.shell import Running, run, run_here
from echo.tests.live import LiveSite, wait_until


def echo(site: LiveSite, query: str = "") -> str:
    return f"localhost:{site.port}/echo{query}"


def after_switching(*frames: bytes) -> Callable[[bytes], bytes]:
    return lambda request: switching(request) + b"".join(frames)


# --- 0: a clean end --------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001])
def test_a_normal_close_is_a_clean_end(code: int, uvicorn: LiveSite) -> None:
    result = run_here(echo(uvicorn, f"?close_code={code}&close_reason=good bye"))
    assert (result.code, result.err) == (0, "")
    assert printed_close(result.lines) == (code, "good bye")


def printed_close(lines: list[str]) -> tuple[int, str]:
    """Return the code and the reason in the last line."""
    code, _, rest = lines[-1].removeprefix("closed: ").partition(" ")
    return int(code), rest.partition(") ")[2]


def test_a_close_without_a_code_is_a_clean_end() -> None:
    empty = Frame(Opcode.CLOSE, b"").serialize(mask=False)
    with RawServer(after_switching(empty)) as server:
        result = run_here(server.address)
    assert result.code == 0
    assert result.lines[-1] == "closed: 1005 (no status received)"


def test_ctrl_c_ends_a_handshake_that_hangs(uvicorn: LiveSite, tmp_path: Path) -> None:
    with Running(tmp_path, echo(uvicorn, "?hang=10")) as client:
        client.wait_for("connecting")
        assert client.signal(signal.SIGINT).code == 0
    assert client.out.endswith("interrupt\n")


def test_ctrl_c_does_not_wait_for_a_server_that_never_answers_the_close(
    tmp_path: Path,
) -> None:
    with (
        RawServer(switching) as server,
        Running(
            tmp_path, server.address, "--interval", "1ms", "--timeout", "1h"
        ) as client,
    ):
        wait_until(lambda: server.frames, "a message")
        result = client.signal(signal.SIGINT)
    assert result.code == 0
    assert "interrupt" in result.lines


def test_ctrl_c_does_not_wait_for_the_end_of_a_close_either(tmp_path: Path) -> None:
    with (
        RawServer(switching) as server,
        Running(
            tmp_path, server.address, "-x", "hi", "-w", "0", "--timeout", "1h"
        ) as client,
    ):
        hi_and_close = 2 * 6 + len("hi") + 2
        wait_until(lambda: len(server.frames) >= hi_and_close, "the close frame")
        assert client.signal(signal.SIGINT).code == 0


# --- 1: not connected ------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_refused_connection_is_exit_code_1(host: str) -> None:
    result = run("--addr", f"{host}:1")
    assert result.code == 1
    assert f"cannot connect to {host}:1: connection refused" in result.err
    assert "Traceback" not in result.err


def test_an_unknown_host_is_exit_code_1() -> None:
    result = run_here("ws://no-such-host.invalid/")
    assert result.code == 1
    assert "cannot connect to no-such-host.invalid:80" in result.err


def test_a_refusal_shows_status_headers_and_body(site: LiveSite) -> None:
    result = run(echo(site, "?delay=soon"))
    assert result.code == 1
    lines = result.err.splitlines()
    assert lines[0].endswith(f"ws://{echo(site)}?delay=soon, got 400 Bad Request")
    assert "content-type: application/json; charset=utf-8" in map(str.lower, lines)
    assert '"detail": "delay: expected a duration' in lines[-1]


def test_a_refusal_is_escaped() -> None:
    answer = b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\n\x1b[2J\xff\nbye"
    with RawServer(lambda request: answer) as server:
        result = run_here(server.address)
    assert result.code == 1
    assert result.err.splitlines()[-2:] == [r"\x1b[2J\xff", "bye"]


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "invalid HTTP status line"),
        (b"", "connection closed while reading HTTP status line"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
            "invalid Sec-WebSocket-Accept header: wrong",
        ),
    ],
)
def test_what_is_no_handshake_is_exit_code_1(answer: bytes, got: str) -> None:
    with RawServer(lambda request: answer, "leaves") as server:
        result = run_here(server.address)
    assert result.code == 1
    assert "expected a WebSocket handshake from ws://127.0.0.1" in result.err
    assert got in result.err


def test_a_subprotocol_that_was_not_offered_is_exit_code_1() -> None:
    def answer(request: bytes) -> bytes:
        return switching(request)[:-2] + b"Sec-WebSocket-Protocol: other\r\n\r\n"

    with RawServer(answer) as server:
        result = run_here(server.address, "-s", "chat")
    assert result.code == 1
    assert "unsupported subprotocol: other" in result.err


# --- 2: usage --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ftp://example.com"], "expected a ws://, wss://, http:// or https:// URL"),
        (["localhost:1", "localhost:2"], "expected one URL and at most one -"),
        (["-i", "-"], "-i and - contradict"),
        (["-", "--count", "2"], "--count counts the messages of -x or of the clock"),
        (["--wait", "1s"], "--wait waits after the last message, and the clock has"),
        (["--interval", "soon"], "expected a duration such as 250ms"),
        (["--timeout", "0"], "expected a duration of more than 0 s, got '0'"),
        (["--count", "0"], "expected a whole number from 1, got '0'"),
        (["--header", "nothing"], "expected 'Name: value' on one line"),
        (["--close-code", "1006"], "expected a code from 1000-1003"),
        (["--close-reason", "x" * 124], "expected at most 123 bytes of UTF-8"),
        (["--subprotocol", "a b"], "expected a subprotocol name"),
        (["--hex", "--base64"], "not allowed with argument --hex"),
        (["--hex", "-x", "0"], "message: expected hexadecimal, got '0'"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_connects_nowhere(
    arguments: list[str], complaint: str
) -> None:
    result = run_here(*arguments)
    assert (result.code, result.out) == (2, "")
    assert complaint in result.err
    assert "Traceback" not in result.err


# --- 3: closed abnormally --------------------------------------------------------------


def test_any_other_close_code_is_exit_code_3(site: LiveSite) -> None:
    result = run(
        echo(site, "?close_after=1&close_code=4321&close_reason=no more"),
        *("-x", "hi", "--wait", "20s"),
    )
    assert result.code == 3
    assert result.lines[1:] == ["recv: hi", "closed: 4321 (private use) no more"]
    assert "expected a close with 1000, 1001 or no code, got 4321" in result.err


def test_a_cut_connection_is_exit_code_3(site: LiveSite) -> None:
    result = run(echo(site, "?drop_after=1"), "-x", "hi", "--wait", "20s")
    assert result.code == 3
    assert result.received == ["hi"]
    assert "closed: 1006 (abnormal closure): the connection ended" in result.lines[-1]


@pytest.mark.parametrize(
    ("frame", "sent", "cause"),
    [
        (b"\x81\x02\xc3\x28", 1007, "invalid UTF-8 at position 0 of a text message"),
        (b"\xc1\x00", 1002, "reserved bits must be 0"),
        (b"\x83\x00", 1002, "invalid opcode"),
        (b"\x81\x80\x00\x00\x00\x00", 1002, "incorrect masking"),
        (b"\x80\x00", 1002, "unexpected continuation frame"),
        (b"\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00", 1009, "4294967296 bytes"),
    ],
)
def test_a_frame_against_the_protocol_is_exit_code_3(
    frame: bytes, sent: int, cause: str
) -> None:
    # The end of the stream follows when the close frame has been read.
    with RawServer(after_switching(frame)) as server:
        result = run_here(server.address, "--timeout", "1s", "--trace")
    assert result.code == 3
    assert any(f"code={sent}" in line for line in result.lines)
    assert f"failed with {sent}: " in result.err
    assert cause in result.err


def test_a_frame_that_is_cut_off_is_shown() -> None:
    with RawServer(after_switching(b"\x81\x05hel"), "leaves") as server:
        result = run_here(server.address, "--trace")
    assert result.code == 3
    assert r"← unfinished frame: \x81\x05hel" in result.lines


# --- 4: timeout ------------------------------------------------------------------------


def test_a_handshake_that_takes_too_long_is_exit_code_4(uvicorn: LiveSite) -> None:
    result = run(echo(uvicorn, "?hang=10"), "--timeout", "100ms")
    assert result.code == 4
    assert (
        "to open within 0.1 s, got no whole answer; --timeout waits longer"
        in result.err
    )


def test_a_reply_that_takes_too_long_is_exit_code_4(uvicorn: LiveSite) -> None:
    result = run(
        echo(uvicorn, "?mute_after=1"), "-x", "a", "-x", "b", "--timeout", "2s"
    )
    assert result.code == 4
    assert result.lines[1:] == ["recv: a", "closed: 1000 (OK)"]
    assert "replies: expected 2, got 1, and none for 2 s" in result.err


def test_a_close_that_is_never_answered_is_exit_code_4() -> None:
    with RawServer(switching) as server:
        result = run_here(server.address, "-x", "hi", "-w", "0", "--timeout", "2s")
    assert result.code == 4
    assert "expected the close frame to be answered within 2 s" in result.err


def test_a_server_that_does_not_read_is_exit_code_4() -> None:
    with RawServer(switching, "ignores") as server:
        result = run_here(
            *(server.address, "-x", "x" * 100_000, "--count", "300"),
            *("--timeout", "2s"),
        )
    assert result.code == 4
    assert "expected the server to read within 2 s" in result.err


# --- not the end -----------------------------------------------------------------------


def test_reconnecting_survives_connections_that_are_cut(uvicorn: LiveSite) -> None:
    result = run_here(
        *(echo(uvicorn, "?drop_after=1"), "--reconnect", "--interval", "3s"),
        *("-x", "a", "-x", "b"),
    )
    assert (result.code, result.err) == (0, "")
    assert result.received == ["a", "b"]
    assert any(line.startswith("reconnecting in 0.") for line in result.lines)


def test_a_message_that_is_lost_with_its_connection_is_exit_code_3(
    uvicorn: LiveSite,
) -> None:
    result = run_here(
        echo(uvicorn, "?mute_after=0&drop_after=1"), "--reconnect", "-x", "a"
    )
    assert result.code == 3
    assert result.lines[-1] == "closed: 1000 (OK)"
    assert "1 sent before a reconnect had no reply" in result.err


def test_reconnecting_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    with (
        LiveSite("daphne", tmp_path) as live,
        Running(tmp_path, echo(live), "--reconnect", "--interval", "1ms") as client,
    ):
        client.wait_for("recv: ")
        live.stop()
        client.wait_for("connection refused")
        live.start()
        before = client.out.count("recv: ")
        client.wait_for("recv: ", times=before + 1)
        assert client.signal(signal.SIGINT).code == 0
    assert "closed: 1012 (service restart)" in client.out


def test_reconnecting_goes_on_until_ctrl_c(uvicorn: LiveSite, tmp_path: Path) -> None:
    query = "?close_code=4001&close_reason=shutdown"
    with Running(tmp_path, echo(uvicorn, query), "--reconnect", "--json") as client:
        client.wait_for('"type": "reconnecting"', times=2)
        result = client.signal(signal.SIGINT)
    assert result.code == 0
    pause = next(e for e in result.events if e["type"] == "reconnecting")
    assert 0 <= pause["seconds"] <= 0.5


@pytest.mark.parametrize(
    ("query", "code"),
    [("?close_code=1000", 0), ("?close_code=4501", 3), ("?reject=404", 1)],
)
def test_an_end_that_would_be_the_same_again_is_the_end(
    query: str, code: int, uvicorn: LiveSite
) -> None:
    result = run_here(echo(uvicorn, query), "--reconnect")
    assert result.code == code
    assert "reconnecting" not in result.out
