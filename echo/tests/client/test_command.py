"""``manage.py wsclient`` against real servers: what it sends and prints."""

import base64
import json
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from websockets.sync.server import ServerConnection

from echo.management.commands.wsclient import Command
from echo.tests.client.peers import library_server
from echo.tests.client.shell import COMMAND, Running, environment, run, run_here
from echo.tests.live import ROOT, LiveSite


def echo(site: LiveSite, query: str = "") -> str:
    return f"localhost:{site.port}/echo{query}"


def test_every_option_has_help_with_its_default() -> None:
    parser = Command().create_parser("manage.py", "wsclient")
    own = {title.title: title._group_actions for title in parser._action_groups}
    actions = [*own["connection"], *own["messages"], *own["output"]]
    assert {"addr", "execute", "trace"} <= {action.dest for action in actions}
    assert [a.dest for a in actions if "(default: " not in (a.help or "")] == []


# --- gorilla's client ------------------------------------------------------------------


def test_with_no_options_it_is_gorillas_client(site: LiveSite, tmp_path: Path) -> None:
    began = datetime.now(UTC)
    with Running(tmp_path, "--addr", f"localhost:{site.port}") as client:
        client.wait_for("recv: ", times=2)
        result = client.signal(signal.SIGINT)
    assert result.code == 0
    assert result.err == ""
    assert result.lines[0] == f"connecting to ws://{echo(site)}"
    assert "interrupt" in result.lines
    assert result.lines[-1] == "closed: 1000 (OK)"
    first, second = map(datetime.fromisoformat, result.received[:2])
    # One a second from the handshake on; a late one does not delay the next.
    assert first - began > timedelta(seconds=1)
    assert second - began > timedelta(seconds=2)


def test_sigterm_closes_like_ctrl_c(uvicorn: LiveSite, tmp_path: Path) -> None:
    with Running(tmp_path, echo(uvicorn), "--interval", "10ms") as client:
        client.wait_for("recv: ")
        assert client.signal(signal.SIGTERM).code == 0
    assert "\ninterrupt\n" in client.out
    assert client.out.endswith("\nclosed: 1000 (OK)\n")


def test_the_clock_ends_after_its_count(uvicorn: LiveSite) -> None:
    result = run_here(echo(uvicorn), "--count", "3", "--interval", "1ms", "-b")
    assert (result.code, len(result.received)) == (0, 3)


# --- messages --------------------------------------------------------------------------


def test_given_messages_are_sent_and_their_replies_waited_for(site: LiveSite) -> None:
    result = run(echo(site, "?delay=200ms"), "-x", "one", "-x", "", "-x", "你好")
    assert (result.code, result.err) == (0, "")
    assert result.lines == [
        f"connecting to ws://{echo(site)}?delay=200ms",
        "recv: one",
        "recv: ",
        "recv: 你好",
        "closed: 1000 (OK)",
    ]


def test_given_messages_are_sent_over_and_over(uvicorn: LiveSite) -> None:
    result = run_here(
        echo(uvicorn), "-x", "a", "-x", "b", "--count", "2", "--interval", "20ms"
    )
    assert result.received == ["a", "b", "a", "b"]


def test_given_messages_are_an_interval_apart(uvicorn: LiveSite) -> None:
    result = run_here(
        echo(uvicorn), "-x", "a", "--count", "2", "--interval", "300ms", "--json"
    )
    sent = [e["time"] for e in result.events if e.get("direction") == "sent"][:2]
    began, second = map(datetime.fromisoformat, (result.events[0]["time"], sent[1]))
    assert second - began > timedelta(seconds=0.25)


def test_a_wait_shows_what_comes_unasked(uvicorn: LiveSite) -> None:
    result = run_here(
        echo(uvicorn, "?delay=600ms&handshake=1"), "-x", "late", "--wait", "3s"
    )
    assert result.code == 0
    assert result.received[1:] == ["late"]


def test_a_wait_needs_no_replies(uvicorn: LiveSite) -> None:
    result = run_here(echo(uvicorn, "?mute_after=0"), "-x", "hello", "--wait", "100ms")
    assert (result.code, result.received) == (0, [])


def test_each_line_of_standard_input_is_a_message(uvicorn: LiveSite) -> None:
    result = run(echo(uvicorn), "-x", "first", "-", input=b"one\n\ntwo\r\nthree")
    assert result.code == 0
    assert result.received == ["first", "one", "", "two", "three"]


def test_many_lines_all_come_back_in_order(site: LiveSite) -> None:
    lines = [str(number) for number in range(5000)]
    result = run("-", echo(site), input="\n".join(lines).encode())
    assert (result.code, result.received) == (0, lines)


def test_binary_messages_are_sent_as_they_are(uvicorn: LiveSite) -> None:
    result = run(echo(uvicorn), "--binary", "-x", b"\xffhi\x1b")
    assert result.received == [r"\xffhi\x1b"]


def test_hexadecimal_goes_both_ways(uvicorn: LiveSite) -> None:
    result = run(echo(uvicorn), "--hex", "-x", "00ff 1B", "-", input=b"\n80\n")
    assert result.received == ["00 ff 1b", "", "80"]


def test_base64_goes_both_ways(uvicorn: LiveSite) -> None:
    assert run_here(echo(uvicorn), "--base64", "-x", "AP8b").received == ["AP8b"]


def test_a_line_that_is_no_hexadecimal_ends_the_run(uvicorn: LiveSite) -> None:
    result = run(echo(uvicorn), "--hex", "-", input=b"00\nxy\n")
    assert result.code == 2
    assert "message: expected hexadecimal, got 'xy'" in result.err


# --- the handshake ---------------------------------------------------------------------


def test_headers_origin_and_subprotocols_go_with_the_handshake(
    uvicorn: LiveSite,
) -> None:
    result = run_here(
        *(echo(uvicorn, "?handshake=1&subprotocol=*"), "-x", "hi"),
        *("-H", "X-One: 1", "--header", "X-Two: a: b"),
        *("-o", f"http://localhost:{uvicorn.port}", "-s", "chat", "-s", "superchat"),
    )
    seen = json.loads(result.received[0])
    assert seen["headers"]["X-One"] == "1"
    assert seen["headers"]["X-Two"] == "a: b"
    assert seen["origin"] == f"http://localhost:{uvicorn.port}"
    assert seen["subprotocols"] == ["chat", "superchat"]
    assert "subprotocol: chat" in result.lines


def test_a_header_of_the_handshake_may_be_replaced(uvicorn: LiveSite) -> None:
    key = base64.b64encode(b"sixteen bytes ok").decode()
    result = run_here(
        *(echo(uvicorn, "?handshake=1"), "-x", "hi"),
        *("-H", "Host: other.localhost", "-H", f"Sec-WebSocket-Key: {key}"),
    )
    seen = json.loads(result.received[0])
    assert seen["headers"]["Host"] == "other.localhost"
    assert seen["headers"]["Sec-Websocket-Key"] == key


def test_the_close_frame_carries_the_given_code_and_reason(site: LiveSite) -> None:
    result = run(
        *(echo(site), "-x", "hi"),
        *("--close-code", "4321", "--close-reason", "tschüß"),
    )
    assert result.code == 0
    assert result.lines[-1] == "closed: 4321 (private use) tschüß"


# --- output ----------------------------------------------------------------------------


def test_control_characters_are_escaped(uvicorn: LiveSite) -> None:
    result = run_here(echo(uvicorn), "-x", "\x1b[2J\x07\u202e")
    assert result.received == [r"\x1b[2J\x07\u202e"]


def test_no_cursor_codes_go_to_a_pipe(uvicorn: LiveSite) -> None:
    result = run(echo(uvicorn), "-i", input=b"hello\n")
    assert (result.code, result.err) == (0, "")
    assert result.lines[0].startswith("connecting to")
    assert result.received == ["hello"]
    assert "\x1b" not in result.out


def test_what_the_outputs_encoding_lacks_is_escaped(uvicorn: LiveSite) -> None:
    out = subprocess.check_output(
        [*COMMAND, echo(uvicorn), "-x", "你"],
        cwd=ROOT,
        env=environment(PYTHONIOENCODING="ascii"),
    )
    assert rb"recv: \u4f60" in out.splitlines()


def test_timestamps_stand_in_front_of_each_line(uvicorn: LiveSite) -> None:
    result = run_here(echo(uvicorn), "-x", "hi", "--timestamps")
    times = [line.split(" ")[0] for line in result.lines]
    assert times == sorted(times)
    assert all(re.fullmatch(r"[-0-9]{10}T[:0-9]{8}\.[0-9]{3}Z", time) for time in times)


def test_round_trip_times_stand_behind_replies_and_nothing_else(
    uvicorn: LiveSite,
) -> None:
    result = run_here(echo(uvicorn, "?handshake=1"), "-x", "hi", "-w", "0", "--rtt")
    first, second = result.received
    assert first.endswith("}")
    assert re.fullmatch(r"hi \([0-9]+\.[0-9]{3} ms\)", second)


def test_json_prints_each_event_as_a_line(site: LiveSite) -> None:
    result = run(echo(site), "--json", "-x", "né", "--close-reason", "bye")
    connecting, opened, sent, received, closed = result.events
    url = f"ws://{echo(site)}"
    assert all(datetime.fromisoformat(event.pop("time")) for event in result.events)
    assert {"type": "connecting", "url": url}.items() <= connecting.items()
    assert {"type": "open", "url": url, "subprotocol": None}.items() <= opened.items()
    message = {"type": "text", "data": "né", "length": 3}
    assert (message | {"direction": "sent"}).items() <= sent.items()
    assert (message | {"direction": "received"}).items() <= received.items()
    assert received["rtt"] > 0
    ending = {"direction": "sent", "type": "close", "code": 1000, "reason": "bye"}
    assert (ending | {"clean": True}).items() <= closed.items()


def test_json_gives_binary_messages_in_base64(uvicorn: LiveSite) -> None:
    events = run_here(echo(uvicorn), "--json", "--hex", "-x", "00ff").events
    received = next(e for e in events if e.get("direction") == "received")
    assert (received["type"], received["base64"], received["length"]) == (
        "binary",
        "AP8=",
        2,
    )


def test_json_has_the_side_and_the_code_of_a_close(uvicorn: LiveSite) -> None:
    closed = run_here(
        echo(uvicorn, "?close_code=1001&close_reason=moved"), "--json"
    ).events
    expected = {"direction": "received", "type": "close", "code": 1001}
    assert (expected | {"reason": "moved", "clean": True}).items() <= closed[-1].items()
    cut = run_here(echo(uvicorn, "?drop_after=0"), "--json").events
    assert {"code": 1006, "reason": "", "clean": False}.items() <= cut[-1].items()


def test_a_trace_shows_the_handshake_and_every_frame(site: LiveSite) -> None:
    lines = run(echo(site), "--trace", "-x", "hi").lines
    assert lines[1] == r"→ GET /echo HTTP/1.1\r\n"
    assert rf"→ Host: localhost:{site.port}\r\n" in lines
    assert r"← HTTP/1.1 101 Switching Protocols\r\n" in lines
    start = next(i for i, line in enumerate(lines) if line.startswith("→ TEXT"))
    fields = re.fullmatch(
        r"→ TEXT   FIN=1 RSV=000 opcode=0x1 MASK=1 length=2 key=([0-9a-f]{8})",
        lines[start],
    )
    assert fields
    key = bytes.fromhex(fields[1])
    masked = bytes([ord("h") ^ key[0], ord("i") ^ key[1]])
    hi = "68 69                                            hi"
    assert lines[start + 1 : start + 8] == [
        f"→   header  81 82 {key.hex(' ')}",
        f"→   masked  {masked.hex(' ')}",
        f"→   payload {hi}",
        "← TEXT   FIN=1 RSV=000 opcode=0x1 MASK=0 length=2",
        "←   header  81 02",
        f"←   payload {hi}",
        "recv: hi",
    ]
    assert lines[-4] == "← CLOSE  FIN=1 RSV=000 opcode=0x8 MASK=0 length=2 code=1000"


def test_a_trace_shows_a_refusal_and_its_body(uvicorn: LiveSite) -> None:
    result = run_here(echo(uvicorn, "?reject=503"), "--trace")
    assert r"← HTTP/1.1 503 Service Unavailable\r\n" in result.lines
    assert result.lines[-1].startswith('← body: {"status_code": 503')


def test_a_trace_as_json_gives_each_frames_fields(uvicorn: LiveSite) -> None:
    events = run_here(echo(uvicorn), "--trace", "--json", "--hex", "-x", "00ff").events
    handshakes = [e["data"] for e in events if e["type"] == "handshake"]
    assert [text.split("\r\n")[0] for text in handshakes] == [
        "GET /echo HTTP/1.1",
        "HTTP/1.1 101 Switching Protocols",
    ]
    sent, received = [e for e in events if e["type"] == "frame"][:2]
    assert sent["header"] == f"8282{sent['masking_key']}"
    fields = {"fin": True, "rsv": "000", "opcode": 2, "length": 2, "payload": "00ff"}
    assert (fields | {"direction": "sent", "mask": True}).items() <= sent.items()
    assert (
        fields | {"direction": "received", "mask": False, "masking_key": None}
    ).items() <= received.items()


def test_a_reader_that_leaves_ends_the_run_in_silence(uvicorn: LiveSite) -> None:
    with subprocess.Popen(
        [*COMMAND, echo(uvicorn), "--interval", "1ms"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as client:
        assert client.stdout
        assert client.stderr
        assert client.stdout.readline().startswith(b"connecting")
        client.stdout.close()
        assert client.stderr.read() == b""
    assert client.returncode == 0


# --- another server --------------------------------------------------------------------


def test_replies_that_are_no_echoes_are_all_received() -> None:
    def answer(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(f"welcome, {message!s}")
            connection.send(iter(["in ", "frag", "ments"]))
            connection.ping(b"?").wait()

    with library_server(answer) as address:
        result = run_here(address, "-x", "you", "--trace")
    assert (result.code, result.err) == (0, "")
    assert result.received == ["welcome, you", "in fragments"]
    assert "← CONT   FIN=0 RSV=000 opcode=0x0 MASK=0 length=4" in result.lines
    assert any(line.startswith("→ PONG") for line in result.lines)
