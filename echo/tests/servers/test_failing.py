"""An application that raises closes its connection with 1011, and is logged once."""

import sys
from pathlib import Path

import pytest

from echo.tests.live import LiveSite, wait_until
from echo.tests.servers.frames import Connection, Opcode, close

APPLICATION = "echo.tests.servers.failing:application"
COMMANDS = {
    "daphne": ["echo.servers", "-p", "{port}", APPLICATION],
    "uvicorn": ["uvicorn", "--port", "{port}", "--lifespan", "off", APPLICATION],
}


@pytest.mark.parametrize("server", COMMANDS)
def test_an_exception_closes_1011_and_is_logged_once(
    tmp_path: Path, server: str
) -> None:
    site = LiveSite(server, tmp_path)
    arguments = [part.format(port=site.port) for part in COMMANDS[server]]
    site.command = [sys.executable, "-m", *arguments]
    with site, Connection(site.port) as connection:
        connection.send_frame(Opcode.TEXT, b"fail")
        assert connection.frame() == close(1011)
        connection.send_frame(Opcode.CLOSE, close(1011).payload)
        assert connection.rest() == []
        wait_until(lambda: "RuntimeError" in site.log, "the exception to be logged")
    assert site.log.count("RuntimeError: failed on purpose") == 1
