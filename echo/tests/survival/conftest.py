"""Real nodes, a real Redis and a real PostgreSQL for each test, and the figures of each row."""

import itertools
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from echo.tests.live import LiveSite
from echo.tests.survival.backends import POSTGRES_BINARIES, Postgres
from echo.tests.survival.record import Figures

# As in production: with DEBUG on Django keeps every query, which looks like a leak.
PRODUCTION = {
    "DEBUG": "off",
    "SECRET_KEY": "a-key-of-these-tests-" * 3,
    "ALLOWED_HOSTS": "127.0.0.1",
    "HTTPS": "off",
}
ROW = "survival"

Start = Callable[..., LiveSite]
Size = Callable[[int, int], int]
Report = Callable[..., None]


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Size:
    """``size(default, full)``: the full figure is for ``make soak``."""
    is_full = request.config.getoption("--soak")
    return lambda default, full: full if is_full else default


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to be copied: migrating takes longer than many a test."""
    directory = tmp_path_factory.mktemp("empty")
    LiveSite("uvicorn", directory, **PRODUCTION).manage("migrate", "-v0")
    return directory / "db.sqlite3"


@pytest.fixture
def sqlite_url(empty_sqlite: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(empty_sqlite, tmp_path / 'db.sqlite3')}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server, whose database ``migrated`` is to be copied."""
    if not POSTGRES_BINARIES:
        pytest.skip("no PostgreSQL server found: apt-get install postgresql")
    server = Postgres()
    try:
        server.start()
        url = server.create("migrated")
        site = LiveSite("uvicorn", tmp_path_factory.mktemp("postgres"), **PRODUCTION)
        site.environment["DATABASE_URL"] = url
        site.migrate()
        yield server
    finally:
        server.close()


names = itertools.count(1)


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    return postgres.create(f"test_{next(names)}", "migrated")


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def unwatched_url(request: pytest.FixtureRequest) -> str:
    """PostgreSQL where there is one: without a doorbell it is looked at once a second.

    SQLite is looked at every few milliseconds, which hides what a doorbell is worth.
    """
    name = "postgres_url" if POSTGRES_BINARIES else "sqlite_url"
    return str(request.getfixturevalue(name))


@pytest.fixture(params=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a node: ``start("uvicorn", sqlite_url, REDIS_URL=…)``."""
    with ExitStack() as nodes:

        def start_one(server: str, database_url: str, **environment: str) -> LiveSite:
            site = LiveSite(
                server,
                tmp_path,
                **PRODUCTION,
                **{"DATABASE_URL": database_url} | environment,
            )
            site.start()
            nodes.callback(end, site)
            return site

        yield start_one


def end(site: LiveSite) -> None:
    """Stop a node that still runs; fail on an exception in its log."""
    assert site.process is not None
    if site.process.poll() is None:
        site.stop(signal.SIGTERM)
    assert "Traceback" not in site.log, site.log


@pytest.fixture
def report(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Report:
    """Check a row's figures, and show them at the end of the run."""

    def check(what: str, figures: Figures, **also: object) -> None:
        extra = ", ".join(f"{name} {value}" for name, value in also.items())
        line = (
            f"{request.node.name}: {what}: lost {figures.lost}, "
            f"doubled {figures.doubled}, out of order {figures.disordered}"
        )
        row = f"{line}; {extra}" if extra else line
        record_property(ROW, row)  # travels with the test's report, from a worker too
        assert figures == Figures(), row

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        value
        for outcome in ("passed", "failed")
        for test in terminalreporter.stats.get(outcome, [])
        if test.when == "call"
        for name, value in test.user_properties
        if name == ROW
    ]
    if rows:
        terminalreporter.section("what the feed lived through")
        for row in rows:
            terminalreporter.line(row)
