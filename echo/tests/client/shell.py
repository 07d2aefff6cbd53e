"""Runs ``manage.py wsclient`` as a shell does: to its end, in parallel, or on a terminal.

``run_here`` calls the same entry point in the test's own process: a new one takes most of
a second to start.
"""

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management import execute_from_command_line

from echo.tests import forks
from echo.tests.live import PATIENCE_SECONDS, wait_until

COMMAND = [sys.executable, "manage.py", "wsclient"]
CURSOR_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>78]")


def environment(**changes: str) -> dict[str, str]:
    """Return the test's environment without proxies, and with these changes."""
    own = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return own | {"DJANGO_SETTINGS_MODULE": "wsdemo.settings"} | changes


@dataclass(frozen=True)
class Result:
    """The result of a run."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def received(self) -> list[str]:
        """The received messages: the text after ``recv: ``."""
        return [
            line.removeprefix("recv: ")
            for line in self.lines
            if line.startswith("recv: ")
        ]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in the lines of ``--json``."""
        return [json.loads(line) for line in self.lines]


def run(*arguments: str | bytes, input: bytes = b"", **changes: str) -> Result:
    """Run the command to its end."""
    done = forks.run(
        [*COMMAND, *map(os.fsdecode, arguments)],
        env=environment(**changes),
        input=input,
        timeout=PATIENCE_SECONDS,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_here(*arguments: str) -> Result:
    """Run the command to its end in this process, through Django's entry point."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            execute_from_command_line(["manage.py", "wsclient", *arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


class Running:
    """A run in parallel to the test, which can send it signals."""

    def __init__(self, directory: Path, *arguments: str, **changes: str) -> None:
        self.out_path = directory / "out"
        self.err_path = directory / "err"
        with self.out_path.open("wb") as out, self.err_path.open("wb") as err:
            self.process = forks.Process(
                [*COMMAND, *arguments],
                env=environment(**changes),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def out(self) -> str:
        return self.out_path.read_text(errors="replace")  # a character may be cut

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until the text has been printed this often."""
        wait_until(
            lambda: self.out.count(text) >= times,
            f"{text!r} in {self.out}",
        )

    def signal(self, number: signal.Signals) -> Result:
        """Send the signal, and wait for the end of the run."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        return Result(code, self.out, self.err_path.read_text())


class Terminal:
    """A run on a pseudo-terminal, of 24 lines of 80 characters."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = forks.Process(
            [*COMMAND, *arguments],
            # A pseudo-terminal does not answer when it is asked where its cursor is.
            env=environment(TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.raw = b""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    @property
    def screen(self) -> str:
        """The output so far, without cursor codes."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.raw += os.read(self.master, 65536)
            except OSError:  # the other side has gone
                break
        return CURSOR_CODES.sub("", self.raw.decode(errors="replace"))

    def wait_for(self, text: str, times: int = 1) -> None:
        wait_until(
            lambda: self.screen.count(text) >= times,
            f"{text!r} in {self.screen!r}",
        )

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Return the exit code after the end; read on, or a full terminal would block it."""
        wait_until(
            lambda: self.screen is not None and self.process.poll() is not None,
            "the end of the client",
        )
        with suppress(OSError):  # the end, on Linux, after all that was written
            while piece := os.read(self.master, 65536):
                self.raw += piece
        return self.process.wait()
