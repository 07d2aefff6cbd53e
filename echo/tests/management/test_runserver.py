"""``manage.py runserver``: a port in use is a clear error, with and without autoreloader."""

import socket
import subprocess
import sys

import pytest

from echo.tests.live import PATIENCE_SECONDS, ROOT


@pytest.mark.parametrize("options", [[], ["--noreload"]])
def test_a_port_that_is_taken_is_refused(options: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = subprocess.run(
            [sys.executable, "manage.py", "runserver", str(port), *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
    assert run.returncode == 1
    assert (
        f"cannot listen on 127.0.0.1 port {port}: Address already in use" in run.stderr
    )
    assert "make run PORT=" in run.stderr
    assert "Traceback" not in run.stderr
