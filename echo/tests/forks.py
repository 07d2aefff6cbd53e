"""Runs Python commands in processes that are forked from one that has the packages already.

Importing them takes most of a second, and a run of the tests starts hundreds of processes.
Where the interpreter's own start matters, tests use ``subprocess``.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

ROOT = Path(__file__).resolve().parents[2]


@cache
def forkserver() -> socket.socket:
    """Start the server of this process, and return the socket on which it is asked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        server = subprocess.Popen(
            [sys.executable, "-m", "echo.tests.forkserver", str(number)],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            pass_fds=[number],
        )

    def close() -> None:
        ours.close()
        server.wait()

    atexit.register(close)
    return ours


def file_number(file: IO[bytes] | int, null: IO[bytes]) -> int:
    if isinstance(file, int):
        return null.fileno() if file == subprocess.DEVNULL else file
    return file.fileno()


class ForkedProcess:
    """A forked process, with the methods of subprocess.Popen that tests use."""

    def __init__(
        self,
        command: list[str],
        *,
        cwd: Path = ROOT,
        env: dict[str, str],
        stdin: IO[bytes] | int,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
        start_new_session: bool = False,
    ) -> None:
        assert command[0] == sys.executable
        self.args = command
        self.returncode: int | None = None
        self._lock = threading.Lock()
        request = {
            "command": command[1:],
            "environment": env,
            "directory": str(cwd),
            "new_session": start_new_session,
        }
        self._report, report_to = os.pipe()
        weakref.finalize(self, os.close, self._report)
        with open(os.devnull, "r+b") as null:
            files = [file_number(file, null) for file in (stdin, stdout, stderr)]
            message = json.dumps(request).encode()
            socket.send_fds(forkserver(), [message], [*files, report_to])
        os.close(report_to)
        self.pid = self._reported()

    def _reported(self) -> int:
        """Wait for the next line that the server writes about this process."""
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._report, 1)
            assert byte, "the forkserver has died"
            line += byte
        return int(line)

    def _is_reported(self, timeout: float | None) -> bool:
        return bool(select.select([self._report], [], [], timeout)[0])

    def poll(self) -> int | None:
        with self._lock:
            if self.returncode is None and self._is_reported(0):
                self.returncode = self._reported()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not self._is_reported(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


# Elsewhere there are no file descriptors of processes, by which the server notices an end.
Process = ForkedProcess if sys.platform == "linux" else subprocess.Popen


def run(
    command: list[str],
    *,
    env: dict[str, str],
    input: bytes = b"",
    timeout: float | None = None,
    check: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, as subprocess.run does, and capture what it prints."""
    with TemporaryFile() as stdin, TemporaryFile() as out, TemporaryFile() as err:
        stdin.write(input)
        stdin.seek(0)
        process = Process(command, env=env, stdin=stdin, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        done = subprocess.CompletedProcess(command, code, out.read(), err.read())
    if check:
        done.check_returncode()
    return done
