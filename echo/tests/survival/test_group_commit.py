"""Processes whose threads and coroutines publish together: one sequence, and nothing lost."""

import asyncio
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from echo.tests.forks import Process
from echo.tests.live import LiveSite, wait_until
from echo.tests.survival.conftest import PRODUCTION, Report, Size, Start
from echo.tests.survival.reader import Reader, settled

PROCESSES = 4
# Prints each event's caller, data and number once its caller has it.
PUBLISH = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from django.db import connection, transaction
from echo.feed import apublish, publish
process, count = {process}, {count}

def show(caller, data, done):
    print(caller, data, done.id.split("-")[1], int(done.duplicate), flush=True)

def publish_in_turn(caller):
    for number in range(count):
        data = f"{{caller}}.{{number}}"
        show(caller, data, publish("news", data))
        with transaction.atomic():
            publish("news", "dead")
            transaction.set_rollback(True)
    connection.close()

async def apublish_in_turn(caller):
    for number in range(count):
        data = f"{{caller}}.{{number}}"
        show(caller, data, await apublish("news", data))
        done = await apublish("news", f"shared.{{number}}", key=f"{{number}}")
        show("shared", f"shared.{{number}}", done)

async def main():
    with ThreadPoolExecutor(4) as pool:
        names = [f"{{process}}-{{one}}" for one in range(8)]
        threads = [asyncio.wrap_future(pool.submit(publish_in_turn, name)) for name in names[:4]]
        await asyncio.gather(*threads, *map(apublish_in_turn, names[4:]))

asyncio.run(main())
"""
NUMBERS = """
from echo.models import Event
for number, data in Event.objects.order_by("number").values_list("number", "data"):
    print(number, data)
"""


# The author of each tenth is too long for its column.
PUBLISH_BAD_ONES = """
import asyncio
from echo.feed import apublish
async def main():
    for turn in range(20):
        authors = ["x" * (200 if number == 5 else 1) for number in range(10)]
        calls = [apublish("news", turn, author=author) for author in authors]
        for done in await asyncio.gather(*calls, return_exceptions=True):
            print(type(done).__name__ if isinstance(done, Exception) else done)
asyncio.run(main())
"""


class PublishingProcess:
    """A process of eight callers; what each has been answered is in its output."""

    def __init__(self, site: LiveSite, process: int, count: int, output: Path) -> None:
        self.output = output
        code = PUBLISH.format(process=process, count=count)
        with output.open("wb") as file:
            self.process = Process(
                [sys.executable, "manage.py", "shell", "-v0", "-c", code],
                env=site.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def answers(self) -> list[tuple[str, str, int, bool]]:
        """Return each caller, its data, the number, and whether it was a duplicate."""
        found = []
        for line in self.output.read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # the last of a killed process may be cut
                caller, data, number, duplicate = line.split()
                found.append((caller, data, int(number), duplicate == "1"))
        return found


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> LiveSite:
    return LiveSite("uvicorn", tmp_path, **PRODUCTION, DATABASE_URL=database_url)


def log_of(site: LiveSite) -> dict[int, str]:
    """Return the log's data by their numbers."""
    lines = site.manage("shell", "-v0", "-c", NUMBERS).splitlines()
    pairs = (line.split(" ", 1) for line in lines)
    return {int(number): data.strip('"') for number, data in pairs}


async def test_threads_and_coroutines_of_many_processes_share_one_sequence(
    start: Start, database_url: str, tmp_path: Path, size: Size, report: Report
) -> None:
    node = start("uvicorn", database_url)
    count = size(20, 200)
    async with Reader([node]) as reader:
        publishing = [
            PublishingProcess(node, number, count, tmp_path / f"output-{number}")
            for number in range(PROCESSES)
        ]
        for one in publishing:
            code = await asyncio.to_thread(one.process.wait, 120)
            assert code == 0, one.output.read_text()
        answers = [answer for one in publishing for answer in one.answers()]
        published = {data for _, data, _, _ in answers}
        figures = await settled([reader], published)
    logged = await asyncio.to_thread(log_of, node)
    assert list(logged) == list(range(1, len(published) + 1))
    assert set(logged.values()) == published
    turns: dict[str, list[int]] = defaultdict(list)
    for caller, data, number, _ in answers:
        assert logged[number] == data
        turns[caller].append(number)
    own = [numbers for caller, numbers in turns.items() if caller != "shared"]
    assert len(own) == 8 * PROCESSES
    assert all(numbers == sorted(numbers) for numbers in own)
    first = [data for _, data, _, duplicate in answers if not duplicate]
    assert sorted(first) == sorted(published)
    report(f"{8 * PROCESSES} callers, {len(published)} events", figures)


def test_what_a_killed_process_was_answered_is_in_the_log(
    site: LiveSite, tmp_path: Path
) -> None:
    doomed = PublishingProcess(site, 0, 10_000, tmp_path / "output")
    wait_until(lambda: len(doomed.answers()) > 200, "publishes")
    doomed.process.send_signal(signal.SIGKILL)
    doomed.process.wait(10)
    answers = doomed.answers()
    logged = log_of(site)
    assert len(answers) > 200
    assert all(logged[number] == data for _, data, number, _ in answers)
    assert list(logged) == list(range(1, len(logged) + 1))
    # The next process goes on with the next number.
    site.manage("broadcast", "--topic", "news", "after")
    assert log_of(site)[len(logged) + 1] == "after"


def test_what_the_database_refuses_is_one_caller_s_error(
    postgres_url: str, tmp_path: Path
) -> None:
    site = LiveSite("uvicorn", tmp_path, **PRODUCTION, DATABASE_URL=postgres_url)
    said = site.manage("shell", "-v0", "-c", PUBLISH_BAD_ONES).split()
    refused = said[5::10]
    assert refused == ["DataError"] * 20
    numbers = [int(one.split("-")[1]) for one in said if one != "DataError"]
    assert numbers == list(range(1, 181))
    assert list(log_of(site)) == numbers


def test_processes_that_begin_a_log_together_begin_one(
    site: LiveSite, tmp_path: Path
) -> None:
    beginning = [
        PublishingProcess(site, number, 1, tmp_path / f"output-{number}")
        for number in range(PROCESSES)
    ]
    for one in beginning:
        assert one.process.wait(60) == 0, one.output.read_text()
    logged = log_of(site)
    assert list(logged) == list(range(1, 8 * PROCESSES + 2))


LOCK_LIMITS = """
from django.db import connection
from echo.feed.threads import waiting_for_locks, with_connection
SHOW = "SHOW lock_timeout" if connection.vendor == "postgresql" else "PRAGMA busy_timeout"
def show():
    with connection.cursor() as cursor:
        cursor.execute(SHOW)
        print(cursor.fetchone()[0])
def show_limits():
    show()
    for seconds in (1.5, 3.9, 0, float(60)):
        with waiting_for_locks(seconds):
            show()
    show()
with_connection(show_limits)
"""


def test_a_wait_for_locks_is_shortened_and_restored(site: LiveSite) -> None:
    limits = site.manage("shell", "-v0", "-c", LOCK_LIMITS).split()
    milliseconds = [limit.removesuffix("ms").replace("4s", "4000") for limit in limits]
    assert milliseconds == ["4000", "1500", "4000", "1", "4000", "4000"]
