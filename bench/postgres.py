"""Measures publishing to PostgreSQL by several processes at once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from bench.servers import ENVIRONMENT, ROOT, manage
from echo.load.errors import LoadError
from echo.tests.survival.backends import POSTGRES_BINARIES, Postgres

PROCESSES = 8
SECONDS = 3.0


def missing() -> str:
    """Return why there is no PostgreSQL, or ""."""
    return "" if POSTGRES_BINARIES else "no PostgreSQL (Debian: postgresql)"


@contextmanager
def on_all_cores() -> Iterator[None]:
    """Let what is started meanwhile run on every core."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def events_a_second(calls: int) -> float:
    """Publish with so many calls under way in each process; return the events a second."""
    with on_all_cores():
        postgres = Postgres()
        try:
            postgres.start()
            url = postgres.create("bench")
            manage("migrate", "-v0", DATABASE_URL=url)
            return publish(url, calls)
        finally:
            postgres.close()


def publish(url: str, calls: int) -> float:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.publishers", str(calls), str(SECONDS)],
            cwd=ROOT,
            env=os.environ | ENVIRONMENT | {"DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise LoadError("a publishing process has failed")
        before, _ = counted(url)
        # Together, without waiting for the end of one after the other.
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        published = sum(int(process.communicate()[0]) for process in processes)
    finally:
        for process in processes:
            process.kill()
    count, span = counted(url)
    if count != span or count - before != published:
        raise LoadError(
            f"expected {published} more events than {before} in the log, got {count}, "
            f"with numbers from 1 to {span}"
        )
    return published / SECONDS


def counted(url: str) -> tuple[int, int]:
    """Return how many events are in the log, and the last number."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*), coalesce(max(number), 0) FROM echo_event"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])
