"""A server that stops closes its connections with 1012, and then exits."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from echo.tests.live import COMMANDS, ROOT, CommandSite, LiveSite, wait_until
from echo.tests.servers.frames import Connection, Frame, Opcode, close, text
from echo.tests.servers.test_heads import HANDSHAKE, read_to_end
from echo.tests.tcp import has_read_all

# Than the ten seconds of ?hang=10s, and than what a client has to answer a close.
LESS_THAN_A_HANG = 9.0
HANGING = b"GET /echo?hang=10s HTTP/1.1\r\n" + HANDSHAKE + b"\r\n"
# How long after Ctrl-C `subprocess.run` kills its child.
KILLED_AFTER_SECONDS = 0.25
RELOADED = "reloaded_settings.py"
RUNSERVER = [sys.executable, "manage.py", "runserver", "{port}"]


@pytest.fixture(params=COMMANDS)
def own_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveSite]:
    """A site that the test may stop."""
    with CommandSite(request.param, tmp_path) as site:
        yield site


def open_and_used(site: LiveSite) -> Connection:
    connection = Connection(site.port, tls=site.tls)
    connection.send_frame(Opcode.TEXT, b"hello")
    assert connection.frame() == text("hello")
    return connection


def assert_closed_for_restart(connection: Connection) -> None:
    """Check that the client gets 1012, and after its answer the end of the stream."""
    assert connection.frame() == close(1012)
    connection.send_frame(Opcode.CLOSE, close(1012).payload)
    assert connection.rest() == []


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_every_client_gets_1012_when_the_server_stops(
    own_site: LiveSite, sign: signal.Signals
) -> None:
    with open_and_used(own_site) as first, open_and_used(own_site) as second:
        assert own_site.process is not None
        own_site.process.send_signal(sign)
        assert_closed_for_restart(first)
        assert_closed_for_restart(second)
    code = own_site.wait_for_end()  # a second signal might end it before its clean end
    # uvicorn ends by the signal itself, once it has shut down.
    assert code in {0, -sign, 128 + sign}
    assert "Traceback" not in own_site.log, own_site.log


def test_a_client_that_does_not_answer_does_not_keep_the_server(
    own_site: LiveSite,
) -> None:
    with open_and_used(own_site) as silent:
        own_site.stop(seconds=LESS_THAN_A_HANG)
        assert silent.rest() == [close(1012)]


def test_a_hanging_handshake_does_not_keep_the_server(own_site: LiveSite) -> None:
    with socket.create_connection(("127.0.0.1", own_site.port)) as hanging:
        hanging.sendall(HANGING)
        wait_until(lambda: has_read_all(own_site.port), "the handshake to hang")
        own_site.stop(seconds=LESS_THAN_A_HANG)
        assert read_to_end(hanging).startswith(b"HTTP/1.1 503 ")
    assert "Traceback" not in own_site.log, own_site.log


@pytest.fixture
def reloading(tmp_path: Path) -> Iterator[LiveSite]:
    """``manage.py runserver`` with its autoreloader, in a process group of its own.

    Its settings are a file of its own too: the others have other tests' servers as well.
    """
    (tmp_path / RELOADED).write_text("from wsdemo.settings import *\n")
    own = {"DJANGO_SETTINGS_MODULE": Path(RELOADED).stem, "PYTHONPATH": str(tmp_path)}
    site = LiveSite("daphne", tmp_path, **own)
    site.command = [part.format(port=site.port) for part in RUNSERVER]
    site.migrate()
    with site.log_path.open("ab") as log:
        site.process = subprocess.Popen(
            site.command,
            cwd=ROOT,
            env=site.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(site.answers, "runserver to listen")
        yield site
    finally:
        if site.process.poll() is None:
            os.killpg(site.process.pid, signal.SIGKILL)
        site.process.wait()


def test_ctrl_c_ends_the_reloading_server_with_1012(reloading: LiveSite) -> None:
    with open_and_used(reloading) as connection:
        assert reloading.process is not None
        os.killpg(reloading.process.pid, signal.SIGINT)
        assert_closed_for_restart(connection)
        reloading.wait_for_end()
    assert "Traceback" not in reloading.log, reloading.log


def test_ctrl_c_leaves_a_slow_reloading_server_its_time(reloading: LiveSite) -> None:
    """Stopped, the child takes longer than `subprocess.run` waits before it kills."""
    assert reloading.process is not None
    parent = reloading.process.pid
    (child,) = map(
        int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    )
    with open_and_used(reloading) as connection:
        os.kill(child, signal.SIGSTOP)
        os.killpg(parent, signal.SIGINT)
        time.sleep(4 * KILLED_AFTER_SECONDS)
        os.kill(child, signal.SIGCONT)
        assert_closed_for_restart(connection)
        reloading.wait_for_end()
    assert "Traceback" not in reloading.log, reloading.log


def test_a_changed_file_restarts_the_reloading_server(
    reloading: LiveSite, tmp_path: Path
) -> None:
    def noticed() -> bool:
        # Again and again: a change before the reloader's first look is none.
        os.utime(tmp_path / RELOADED)
        return "changed, reloading" in reloading.log

    with open_and_used(reloading) as connection:
        wait_until(noticed, "the autoreloader to notice")
        assert_closed_for_restart(connection)
    wait_until(
        lambda: reloading.log.count("Quit the server") == 2 and reloading.answers(),
        "runserver to listen again",
    )
    with open_and_used(reloading):
        pass
    assert "Traceback" not in reloading.log, reloading.log


@pytest.mark.parametrize("option", ["--nostatic", "--insecure", "--ipv6"])
def test_runserver_keeps_its_options(tmp_path: Path, option: str) -> None:
    host = "::1" if option == "--ipv6" else "127.0.0.1"

    class Site(LiveSite):
        def answers(self) -> bool:
            return "Quit the server" in self.log and listens(host, self.port)

    with Site("daphne", tmp_path, (option,)) as site:
        url = f"http://[::1]:{site.port}" if option == "--ipv6" else site.url
        assert httpx.get(f"{url}/echo").status_code == 426


def listens(host: str, port: int) -> bool:
    """Return True if a connection is accepted."""
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def test_noasgi_serves_http(tmp_path: Path) -> None:
    with LiveSite("daphne", tmp_path, ("--noasgi",)) as site:
        assert site.get("/echo").status_code == 426


def test_the_daphne_command_serves_the_same_echo(tmp_path: Path) -> None:
    site = LiveSite("daphne", tmp_path)
    site.command = [sys.executable, "-m", "echo.servers", "-p", str(site.port)]
    site.command.append("wsdemo.asgi:application")
    with site:
        with open_and_used(site) as connection:
            connection.send_frame(Opcode.BINARY)
            assert connection.frame() == Frame(Opcode.BINARY)
            site.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
            assert_closed_for_restart(connection)
        assert site.wait_for_end() == 0
    assert "Traceback" not in site.log, site.log


def test_the_sites_cap_holds_on_the_daphne_command(tmp_path: Path) -> None:
    site = LiveSite("daphne", tmp_path, ECHO_MAX_MESSAGE_BYTES="1000")
    site.command = [sys.executable, "-m", "echo.servers", "-p", str(site.port)]
    site.command.append("wsdemo.asgi:application")
    with site, Connection(site.port, "/echo?handshake=1") as connection:
        seen = json.loads(connection.frame().payload)
        assert seen["settings"]["max_message_size"] == 1000
        connection.send_frame(Opcode.BINARY, bytes(1001))
        assert connection.frame().payload[:2] == close(1009).payload
