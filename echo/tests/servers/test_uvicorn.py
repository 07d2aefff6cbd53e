"""uvicorn starts only with the protocols that this site has changed."""

import subprocess
import sys
from asyncio.sslproto import _SSLProtocolTransport
from pathlib import Path
from unittest.mock import Mock

import pytest

from echo.servers.uvicorn import backlog_size
from echo.tests.live import PATIENCE_SECONDS, ROOT, CommandSite, free_port
from echo.tests.servers.frames import Connection, Opcode, text

# Starts uvicorn where httptools cannot be imported, as after a plain `pip install uvicorn`.
WITHOUT_HTTPTOOLS = """
import sys
sys.modules["httptools"] = None
import uvicorn
uvicorn.run("wsdemo.asgi:application", port=int(sys.argv[1]))
"""
# Imports the site as another server does, with a uvicorn beside it that has changed.
UNDER_ANOTHER_SERVER = """
import echo.tests.servers.renamed
assert echo.tests.servers.renamed.application
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def uvicorn(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "uvicorn", "--port", str(free_port()), *arguments)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--ws", "websockets", "websockets-sansio"),
        ("--ws", "none", "websockets-sansio"),
        ("--http", "asyncio:Protocol", "httptools or h11"),
    ],
)
def test_a_protocol_that_is_not_changed_is_refused_at_start(
    option: str, value: str, expected: str
) -> None:
    end = uvicorn("wsdemo.asgi:application", option, value)
    assert end.returncode != 0
    assert f"uvicorn {option}: expected {expected}" in end.stderr
    assert f"leave {option} out" in end.stderr
    assert "running on" not in end.stderr


def test_a_uvicorn_with_other_names_is_refused_at_start() -> None:
    end = uvicorn("echo.tests.servers.renamed:application")
    assert end.returncode != 0
    assert "WebSocketsSansIOProtocol to have send_500_response" in end.stderr
    assert "requirements.txt" in end.stderr
    assert "Traceback" not in end.stderr


def test_another_server_runs_whatever_uvicorn_is_like() -> None:
    end = run("-c", UNDER_ANOTHER_SERVER)
    assert end.returncode == 0, end.stderr
    assert "send_500_response" in end.stderr


def test_uvicorn_without_httptools_serves_the_site(tmp_path: Path) -> None:
    site = CommandSite("uvicorn", tmp_path)
    site.command = [sys.executable, "-c", WITHOUT_HTTPTOOLS, str(site.port)]
    with site, Connection(site.port) as connection:
        connection.send_frame(Opcode.TEXT, b"hello")
        assert connection.frame() == text("hello")
        assert site.get("/hello").status_code == 200


def test_a_transport_that_was_closed_twice_does_not_end_the_sweep() -> None:
    transport = _SSLProtocolTransport(Mock(), Mock())
    transport.close()
    transport.close()
    assert backlog_size(transport) == 0
