"""``manage.py market``: publishes so many trades, at a rate, or somebody's own."""

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from echo.management.commands.market import paced
from echo.models import Event
from echo.tests import forks
from echo.tests.forks import ROOT
from echo.tests.live import PATIENCE_SECONDS, LiveSite, wait_until
from echo.tests.transports.adapters import WebSocket, take_data

COUNT = "SELECT count(*) FROM echo_event WHERE topic LIKE 'market.%'"
CSV = "time,price,size\n2026-01-01T00:00:00Z,1.5,2\n2026-01-01T00:00:01Z,1.25,0.5\n"


def market(*arguments: str) -> str:
    told = StringIO()
    call_command("market", *arguments, stdout=StringIO(), stderr=told)
    return told.getvalue().strip()


def published() -> list[tuple[str, Any]]:
    rows = Event.objects.order_by("number").values_list("topic", "data")
    return [(topic, json.loads(data)) for topic, data in rows]


@pytest.mark.django_db
def test_once_publishes_so_many_trades() -> None:
    assert market("--once", "205", "--symbols", "A,B") == (
        "205 trades published to market.*"
    )
    trades = published()
    assert [topic for topic, _ in trades] == (["market.A", "market.B"] * 103)[:205]
    assert all(trade["simulated"] for _, trade in trades)
    assert Event.objects.filter(source="command").count() == 205


@pytest.mark.django_db
def test_once_fills_the_time_before_at_the_rate() -> None:
    market("--once", "11", "--rate", "10")
    times = [trade["time"] for _, trade in published()]
    assert times == sorted(times)
    seconds = [float(time[17:-1]) for time in (times[0], times[-1])]
    assert (seconds[1] - seconds[0]) % 60 == pytest.approx(1, abs=0.002)


@pytest.mark.django_db
def test_the_same_seed_brings_the_same_prices() -> None:
    for seed in ("1", "1", "2"):
        market("--once", "20", "--seed", seed, "--symbols", "A", "--volatility", "1")
    prices = [trade["price"] for _, trade in published()]
    assert prices[:20] == prices[20:40] != prices[40:]


def test_trades_come_at_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    module = "echo.management.commands.market.time"
    monkeypatch.setattr(f"{module}.monotonic", lambda: now[0])
    monkeypatch.setattr(f"{module}.sleep", lambda s: now.__setitem__(0, now[0] + s))
    trades: Any = iter(range(101))
    assert [trade for batch in paced(trades, 4) for trade in batch] == [*range(101)]
    assert now[0] == pytest.approx(125.25)


# --- a CSV file ------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_file_is_played_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    file.write_text(f"\ufeff{CSV}")
    told = market("--csv", str(file), "--rate", "500", "--symbols", "OWN,OTHER")
    assert told == "2 trades published to market.*"
    assert [(topic, trade["price"]) for topic, trade in published()] == [
        ("market.OWN", "1.5"),
        ("market.OWN", "1.25"),
    ]


@pytest.mark.django_db
def test_once_plays_the_first_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    file.write_text(CSV)
    assert market("--csv", str(file), "--once", "1").startswith("1 trades published")
    assert len(published()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CSV.encode() + b"x,1,1\n", "line 4: time: expected ISO 8601"),
        (CSV.encode() + b"\xff,1,1\n", "expected UTF-8"),
        (b"1,2,3\n", "line 1: expected a header with the columns time, price, size"),
        (b"", "line 1: expected a header"),
        (None, "cannot read"),
    ],
)
@pytest.mark.django_db
def test_nothing_is_published_from_a_file_with_a_bad_line(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "trades.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError) as refusal:
        market("--csv", str(file))
    assert reason in str(refusal.value)
    assert published() == []


@pytest.mark.django_db
def test_the_lines_of_stdin_before_a_bad_one_stay_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(f"{CSV}x,1,1\n"))
    with pytest.raises(CommandError, match="-: line 4: time: .* 2 trades published"):
        market("--csv", "-", "--rate", "500")
    assert len(published()) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--rate", "0"], "expected a number from 0.01 to 500, got '0'"),
        (["--rate", "501"], "expected a number from 0.01 to 500"),
        (["--rate", "nan"], "expected a number from 0.01 to 500"),
        (["--volatility", "-1"], "expected a number from 0 to 5"),
        (["--once", "0"], "expected a whole number from 1 to 1000000, got '0'"),
        (["--once", "9" * 5000], "expected a whole number from 1 to 1000000"),
        (["--once", "²"], "expected a whole number from 1 to 1000000"),
        (["--symbols", ""], "expected a symbol of 1 to 20 characters"),
        (["--symbols", "A,A"], "expected 1 to 10 different symbols"),
        (["--symbols", "A.B"], "expected a symbol of 1 to 20 characters"),
    ],
)
def test_an_argument_out_of_range_is_refused(arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError) as refusal:
        market(*arguments)
    assert reason in str(refusal.value)


# --- as a process ----------------------------------------------------------------------


def run(site: LiveSite, *arguments: str, stdin: bytes = b"") -> Any:
    command = [sys.executable, "manage.py", "market", *arguments]
    return forks.run(command, env=site.environment, input=stdin)


def test_a_log_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    done = run(LiveSite("daphne", tmp_path), "--once", "1")
    assert done.returncode == 1
    assert b"manage.py migrate" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_running_server_gets_each_trade(site: LiveSite) -> None:
    with closing(WebSocket(site, "market.SHELL")) as reader:
        done = run(site, "--once", "50", "--symbols", "SHELL")
        assert done.returncode == 0
        assert done.stderr.decode().strip() == "50 trades published to market.*"
        assert done.stdout == b""
        assert len(take_data(reader, 50)) == 50


def test_stdin_is_played_line_by_line(site: LiveSite) -> None:
    with closing(WebSocket(site, "market.STDIN")) as reader:
        done = run(site, "--csv", "-", "--symbols", "STDIN", stdin=CSV.encode())
        assert done.returncode == 0, done.stderr
        assert [trade["price"] for trade in take_data(reader, 2)] == ["1.5", "1.25"]


def test_ctrl_c_ends_it_and_it_says_how_many_were_published(tmp_path: Path) -> None:
    site = LiveSite("daphne", tmp_path)
    site.migrate()
    log = tmp_path / "market.log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "market", "--rate", "100"],
            cwd=ROOT,
            env=site.environment,
            stderr=told,
        )
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as reader:
        wait_until(lambda: reader.execute(COUNT).fetchone()[0] > 3, "trades")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0
        (count,) = reader.execute(COUNT).fetchone()
    assert log.read_text().strip() == f"{count} trades published to market.*"
