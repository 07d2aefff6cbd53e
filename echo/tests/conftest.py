"""Fixtures for every test: the site as real processes; and a mode without skips."""

import os
import signal
from collections.abc import Generator, Iterator

import hypothesis
import pytest
from django.conf import settings

from echo.tests.live import COMMANDS, CommandSite, LiveSite
from echo.tests.survival.backends import Redis

# A busy machine may take its time for any example.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="what would be skipped fails instead"
    )
    parser.addoption(
        "--soak", action="store_true", help="the survival tests with their full figures"
    )
    parser.addoption(
        "--fuzz-seconds",
        default=0,
        type=float,
        help="how long to send odd frames and handshakes to each server, with a fresh "
        "seed (default: one round, seed 1)",
    )
    parser.addoption(
        "--fuzz-seed", type=int, help="repeat a round (default: see above)"
    )


def pytest_configure() -> None:
    """Let Ctrl-C reach the tests' processes, and make users without a costly hash."""
    # 0.3 s for each user otherwise.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # What runs in the background ignores it.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers a core: most tests wait for a server more than they compute."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(collector.config, report)
    return report


def refuse_skip(
    config: pytest.Config, report: pytest.TestReport | pytest.CollectReport
) -> None:
    """Turn a skip into a failure under ``--no-skips``."""
    if report.skipped and config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"--no-skips, but this was skipped: {report.longrepr}"


@pytest.fixture(scope="session", params=COMMANDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """The site on each server in turn, one process for the whole session."""
    with CommandSite(request.param, tmp_path_factory.mktemp(request.param)) as live:
        yield live


@pytest.fixture
def redis() -> Iterator[Redis]:
    """A Redis for this test alone, which can be stopped and frozen."""
    server = Redis()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The tests' database is a file: in memory, SQLite has no WAL and locks whole tables."""
    file = tmp_path_factory.mktemp("database") / "test.sqlite3"
    settings.DATABASES["default"]["TEST"]["NAME"] = str(file)
