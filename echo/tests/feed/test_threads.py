"""The threads that query the database: how long their connections live."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from echo.feed import log, publish
from echo.feed.threads import with_connection

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])

Run = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """Run functions in one thread, each as a job of the database's threads."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda function: thread.submit(with_connection, function).result(10)
        thread.submit(lambda: connection.close()).result(10)


def test_a_thread_s_connection_to_sqlite_stays_open(run: Run) -> None:
    first = run(lambda: connection.connection)
    run(log.head)
    assert run(lambda: connection.connection) is first


def move(source: Path, target: Path) -> None:
    """Move a database that nobody has open, and what belongs to it."""
    for suffix in ("", "-wal", "-shm"):
        if (part := source.with_name(source.name + suffix)).exists():
            part.rename(target.with_name(target.name + suffix))


def test_a_thread_finds_the_file_that_has_taken_the_database_s_place(
    run: Run, tmp_path: Path
) -> None:
    database = Path(connection.settings_dict["NAME"])
    older, newer = tmp_path / "older", tmp_path / "newer"
    publish("news", 1)
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM INTO '{older}'")
    publish("news", 2)
    connection.close()
    assert run(log.head).number == 2
    move(database, newer)
    move(older, database)
    try:
        assert run(log.head).number == 1
    finally:
        move(database, older)
        move(newer, database)
    assert run(log.head).number == 2
