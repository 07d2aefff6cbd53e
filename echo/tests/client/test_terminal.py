"""The prompt, on a real pseudo-terminal."""

from echo.tests.client.shell import Terminal
from echo.tests.live import LiveSite

PROMPT = ">"  # and a space, which goes out as a movement of the cursor
CTRL_C, CTRL_D, ARROW_UP = "\x03", "\x04", "\x1b[A"


def test_what_is_typed_is_sent_and_replies_are_shown(site: LiveSite) -> None:
    with Terminal("-i", f"localhost:{site.port}/echo") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("hello\r")
        terminal.wait_for("recv: hello")
        terminal.type("你好\r")
        terminal.wait_for("recv: 你好")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
        assert "closed: 1000 (OK)" in terminal.screen


def test_arrow_up_brings_back_what_was_sent(uvicorn: LiveSite) -> None:
    with Terminal("-i", f"localhost:{uvicorn.port}/echo") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("again\r")
        terminal.wait_for("recv: again")
        terminal.type(f"{ARROW_UP}\r")
        terminal.wait_for("recv: again", times=2)
        terminal.type(CTRL_D)
        assert terminal.end() == 0


def test_ctrl_c_closes_with_1000(uvicorn: LiveSite) -> None:
    with Terminal("-i", f"localhost:{uvicorn.port}/echo", "-x", "hello") as terminal:
        terminal.wait_for("recv: hello")
        terminal.wait_for(PROMPT)
        terminal.type(CTRL_C)
        assert terminal.end() == 0
        assert "interrupt" in terminal.screen
        assert "closed: 1000 (OK)" in terminal.screen


def test_a_line_that_is_no_hexadecimal_may_be_typed_again(uvicorn: LiveSite) -> None:
    with Terminal("-i", "--hex", f"localhost:{uvicorn.port}/echo") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("xy\r")
        terminal.wait_for("message: expected hexadecimal, got 'xy'")
        terminal.type("00 ff\r")
        terminal.wait_for("recv: 00 ff")
        terminal.type(CTRL_D)
        assert terminal.end() == 0


def test_the_server_may_end_it_while_something_is_typed(uvicorn: LiveSite) -> None:
    url = f"localhost:{uvicorn.port}/echo?close_after=1&close_code=1011"
    with Terminal("-i", url) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("last\r")
        terminal.wait_for("closed: 1011 (internal error)")
        assert terminal.end() == 3


def test_nothing_from_the_wire_moves_the_cursor(uvicorn: LiveSite) -> None:
    with Terminal("-b", f"localhost:{uvicorn.port}/echo", "-x", "\x1b[2J") as terminal:
        assert terminal.end() == 0
        assert r"recv: \x1b[2J" in terminal.screen
        assert b"\x1b" not in terminal.raw
