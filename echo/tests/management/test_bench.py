"""``manage.py bench``: the load on a running site, and what it says of a wrong one."""

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from echo.tests.live import COMMANDS, ROOT, LiveSite, SecureSite, free_port

MAKE_TOKEN = """
from echo.models import Token
token = Token(name="bench", topics="load.*")
secret = token.renew_secret()
token.save()
print(f"{token.pk}.{secret}")
"""
needs_cc = pytest.mark.skipif(
    not shutil.which("cc"), reason="no cc: install gcc to build the load generator"
)


@pytest.fixture(scope="module", params=COMMANDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    with LiveSite(request.param, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def token(site: LiveSite) -> str:
    return site.manage("shell", "-v0", "-c", MAKE_TOKEN).strip()


@pytest.fixture(autouse=True)
def own_directory(settings: Any, tmp_path: Path) -> None:
    """The program is built anew: nothing is left of another test."""
    settings.VAR_DIR = tmp_path


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    call_command("bench", *arguments)
    out, err = capsys.readouterr()
    return out, err


# --- a server that does what it should -------------------------------------------------


@needs_cc
def test_an_echo_is_measured_and_checked(
    site: LiveSite, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--clients", "3", "--size", "1000", "--seconds", "1")
    out, err = bench(capsys, "echo", "--url", f"{site.ws_url}/echo", *options)
    assert "opened       3 in" in out
    assert " × 1,000 B in " in out
    assert "checked      every echo came once" in out
    assert err == ""


@needs_cc
def test_a_feed_is_measured_and_checked(
    site: LiveSite, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ("--url", f"{site.ws_url}/feed/ws", "--token", token, "--topic", "load.c")
    options = ("--readers", "7", "--events", "25", "--size", "100")
    out, err = bench(capsys, "feed", *url, *options)
    assert "published    25 events, 10 at once" in out
    assert "delivered    175," in out
    assert "checked      every reader got every event, once and in order" in out
    assert err == ""


def test_without_a_compiler_python_is_the_load_generator(
    site: LiveSite,
    token: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    url = ("--url", f"{site.ws_url}/feed/ws", "--token", token, "--topic", "load.p")
    out, err = bench(capsys, "feed", *url, "--readers", "3", "--events", "15")
    assert "delivered    45," in out
    assert "Python is the load generator, and slower: no cc" in err
    clients = ("--clients", "2", "--seconds", "1")
    out, _ = bench(capsys, "echo", "--url", f"{site.ws_url}/echo", *clients)
    assert "checked      every echo came once" in out


def test_tls_is_measured_by_python(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SecureSite("uvicorn", tmp_path) as site:
        assert site.tls is not None
        monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: site.tls)
        url = f"{site.ws_url}/echo"
        out, err = bench(capsys, "echo", "--url", url, "--seconds", "1")
    assert "checked      every echo came once" in out
    assert "the one in C speaks no TLS" in err


@needs_cc
def test_a_terminal_shows_a_bar_which_the_report_replaces(
    site: LiveSite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "django.core.management.base.OutputWrapper.isatty", lambda self: True
    )
    options = ("--clients", "3", "--seconds", "1")
    _, err = bench(capsys, "echo", "--url", f"{site.ws_url}/echo", *options)
    assert f"\r{'█' * 30} 100%" in err
    assert err.rstrip("\r").endswith(" " * 30)


# --- a server that does not ------------------------------------------------------------


@needs_cc
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/echo?drop_after=9", "the server cut connection"),
        ("/echo?close_after=9&close_code=1011", "the server closed connection .*1011"),
        ("/echo?handshake=1", "one too many|expected the echo"),
        ("/feed/ws", "one too many|expected the echo"),
        ("/nowhere", "expected 101 Switching Protocols, got HTTP/1.1 404"),
        ("/echo?delay=never", "expected 101 Switching Protocols, got HTTP/1.1 400"),
    ],
)
def test_anything_but_the_echo_is_an_error(
    site: LiveSite, path: str, reason: str
) -> None:
    with pytest.raises(CommandError, match=reason) as caught:
        call_command("bench", "echo", "--url", f"{site.ws_url}{path}", "--seconds", "1")
    assert caught.value.returncode == 1
    assert str(caught.value).startswith(f"{site.ws_url}{path}: ")


@needs_cc
@pytest.mark.parametrize(
    ("path", "topic", "reason"),
    [
        ("/feed/ws", "news", "expected 201 from POST /feed/publish, got 403"),
        ("/echo", "load.x", "expected the address of a feed"),
        ("/no/ws", "load.x", "expected 201 from POST /no/publish, got 404"),
    ],
)
def test_a_feed_that_cannot_be_published_to_is_an_error(
    site: LiveSite, token: str, path: str, topic: str, reason: str
) -> None:
    url = ("--url", f"{site.ws_url}{path}", "--token", token, "--topic", topic)
    with pytest.raises(CommandError, match=reason) as caught:
        call_command("bench", "feed", *url, "--readers", "2")
    assert caught.value.returncode == 1


@needs_cc
def test_a_token_that_is_wrong_is_named(site: LiveSite) -> None:
    with pytest.raises(CommandError, match="got 401 Unauthorized: expected a valid"):
        call_command(
            "bench", "feed", "--url", f"{site.ws_url}/feed/ws", "--token", "1.x"
        )


@needs_cc
def test_nobody_listening_ends_with_exit_code_1() -> None:
    url = f"ws://127.0.0.1:{free_port()}/echo"
    ended = subprocess.run(
        [sys.executable, "manage.py", "bench", "echo", "--url", url],
        cwd=ROOT,
        env=dict(os.environ) | {"DJANGO_SETTINGS_MODULE": "wsdemo.settings"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert ended.stderr.strip() == (
        f"CommandError: {url}: expected a server, got: Connection refused: start it, or "
        "mend the address"
    )


# --- wrong usage -----------------------------------------------------------------------


def test_a_feed_needs_a_token() -> None:
    with pytest.raises(CommandError, match="make one in the admin") as caught:
        call_command("bench", "feed")
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "required: KIND"),
        (("speed",), "invalid choice: 'speed'"),
        (("echo", "--url", "ftp://x"), "expected"),
        (
            ("echo", "--clients", "0"),
            "expected a whole number from 1 to 50000, got '0'",
        ),
        (("echo", "--seconds", "1.5"), "expected a whole number from 1 to 3600"),
        (("feed", "--size", "99999"), "expected a whole number from 0 to 32768"),
        (("feed", "--at-once", "101"), "expected a whole number from 1 to 100"),
        (("feed", "--topic", "a b"), "topic"),
    ],
)
def test_a_bad_option_is_refused_with_what_was_expected(
    arguments: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason):
        call_command("bench", *arguments)
