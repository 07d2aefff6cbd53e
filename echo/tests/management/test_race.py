"""``manage.py race``: five lanes on raw sockets, and what it says when it cannot race."""

import json
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from echo.lab.racer.errors import ExitCode
from echo.tests.live import COMMANDS, LiveSite, free_port

LANES = ["shortpoll", "longpoll", "sse", "websocket", "stock"]
FIGURES = {
    "events",
    "lost",
    "requests",
    "bytes_sent",
    "bytes_received",
    "p50_ms",
    "p95_ms",
}
QUICK = ("--events", "4", "--rate", "20")


@pytest.fixture(scope="module", params=COMMANDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    with LiveSite(request.param, tmp_path_factory.mktemp("site")) as running:
        yield running


def race(site: LiveSite, *arguments: str) -> str:
    out = StringIO()
    call_command("race", "--url", site.url, *arguments, stdout=out)
    return out.getvalue()


def test_json_has_the_figures_of_each_lane(site: LiveSite) -> None:
    lanes = json.loads(race(site, "--json", *QUICK))
    assert list(lanes) == LANES
    for lane in lanes.values():
        assert set(lane) == FIGURES
        assert lane["events"] == 4
        assert lane["lost"] == 0
    assert lanes["websocket"]["requests"] == 1


def test_the_table_has_a_row_for_each_lane(site: LiveSite) -> None:
    head, *rows = race(site, *QUICK).splitlines()
    assert head.split()[:4] == ["lane", "events", "lost", "requests"]
    assert [row.split()[0] for row in rows[:5]] == LANES
    assert rows[6].startswith("4 events of 200 bytes, steady.")


def test_bare_heads_are_the_smallest(site: LiveSite) -> None:
    bare = json.loads(race(site, "--json", "--bare", *QUICK))
    assert bare["websocket"]["bytes_sent"] < 300
    assert bare["shortpoll"]["lost"] == 0


def test_a_cut_loses_events_of_the_stock_lane_only(site: LiveSite) -> None:
    options = ("--scenario", "cut", "--events", "15", "--rate", "5")
    lanes = json.loads(race(site, "--json", *options))
    lost = {name: lane["lost"] for name, lane in lanes.items()}
    assert lost.pop("stock") > 0
    assert set(lost.values()) == {0}


@pytest.mark.parametrize(
    ("arguments", "reason", "exit_code"),
    [
        (
            ["--events", "501"],
            "events: expected a number from 1 to 500",
            ExitCode.USAGE,
        ),
        (["--scenario", "x"], "expected one of steady, sparse", ExitCode.USAGE),
        (["--rate", "nan"], "rate: expected a number", ExitCode.USAGE),
    ],
)
def test_the_sites_refusal_is_printed(
    site: LiveSite, arguments: list[str], reason: str, exit_code: ExitCode
) -> None:
    with pytest.raises(CommandError, match=reason) as failed:
        race(site, *arguments)
    assert failed.value.returncode == exit_code


def test_a_site_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(CommandError, match="Start it with") as failed:
        call_command("race", "--url", url)
    assert failed.value.returncode == ExitCode.NOT_CONNECTED


@pytest.mark.parametrize("url", ["", "x", "ws://here", "http://", "http://a:b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(CommandError, match="--url: expected") as failed:
        call_command("race", "--url", url)
    assert failed.value.returncode == ExitCode.USAGE
