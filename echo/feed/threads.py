"""The threads that query the database: an event loop never waits for it.

Each job has a few threads of its own, so that live events never wait for a reader's history
or for a publisher. Together they hold no more connections than they are threads.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.db import (
    DatabaseError,
    OperationalError,
    close_old_connections,
    connection,
)

# A caller is answered within 5 s, whatever the database does.
ANSWER_SECONDS = 4.5
# How long SQLite waits for another's lock; settings.py has PostgreSQL's. Shorter than
# ANSWER_SECONDS, so that what is reported as failed does not happen afterwards.
LOCK_MILLISECONDS = 4000
# Calls that may wait for the threads of one job; each waits ANSWER_SECONDS at most.
MAX_WAITING_CALLS = 1000

P = ParamSpec("P")
T = TypeVar("T")


class Unanswered(OperationalError):
    """The database did not answer in time; it may be up all the same."""

    def __init__(self) -> None:
        super().__init__(f"the database has not answered within {ANSWER_SECONDS} s")


class DatabaseThreads:
    """A few threads for one job, and a bounded queue before them."""

    def __init__(self, job: str, threads: int) -> None:
        # The threads, named by their job.
        self.executor = ThreadPoolExecutor(threads, f"database {job}")
        # Calls that were made and have not been answered yet, in whichever event loop.
        self.waiting = 0

    async def run(
        self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Return what the function returns, run with a healthy database connection.

        Raises Unanswered when the database has not answered within ANSWER_SECONDS; the
        function may then still take effect.
        """
        self.refuse_too_many()
        call = partial(with_connection, partial(function, *arguments, **named))
        return await self.answer(
            asyncio.get_running_loop().run_in_executor(self.executor, call)
        )

    def refuse_too_many(self) -> None:
        """Raise OperationalError if as many calls as may wait do so."""
        if self.waiting >= MAX_WAITING_CALLS:
            raise OperationalError(
                f"{MAX_WAITING_CALLS} calls wait for the database already: try later"
            )

    async def answer(self, future: asyncio.Future[T]) -> T:
        """Return the future's result. Cancels it after ANSWER_SECONDS; raises Unanswered."""
        self.waiting += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        except TimeoutError:
            raise Unanswered from None
        finally:
            self.waiting -= 1

    def wrap(self, function: Callable[..., T]) -> Callable[..., Coroutine[Any, Any, T]]:
        """Return the function as a coroutine function that runs it in these threads."""

        async def call(*arguments: Any, **named: Any) -> T:
            return await self.run(function, *arguments, **named)

        return call


def with_connection(function: Callable[[], T]) -> T:
    """Run the function; open a connection first where there is none, or a broken one."""
    close_old_connections()
    if connection.vendor == "sqlite":
        # It stays open: to open one takes longer than most of what is done with it.
        keep_sqlite_open()
        return function()
    try:
        return function()
    finally:
        connection.close()  # gives it back to the process's pool


class Opened(threading.local):
    """What a thread remembers of its connection to SQLite."""

    # What tells the file that it has opened from others of the same name.
    identity: tuple[int, int] | None = None


opened = Opened()


def keep_sqlite_open() -> None:
    """Open this thread's connection, to stay open until another file has its file's name."""
    identity = file_identity(str(connection.settings_dict["NAME"]))
    if identity != opened.identity:
        connection.close()
    if connection.connection is None:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {LOCK_MILLISECONDS}")
        connection.close_at = None  # no age is too old
        opened.identity = identity


def file_identity(name: str) -> tuple[int, int] | None:
    """Return what tells a file from another that takes its name; None for no file."""
    try:
        status = os.stat(name)
    except OSError:  # in memory, or deleted
        return None
    return status.st_dev, status.st_ino


# A limit that is this much lower than the connection's own is worth the statements.
LIMIT_MILLISECONDS = 250


@contextmanager
def waiting_for_locks(seconds: float) -> Iterator[None]:
    """Let each statement in the block wait so long for others' locks, and no longer.

    Where the connection's own limit is lower, or hardly higher, it stays.
    """
    is_sqlite = connection.vendor == "sqlite"
    limit, wanted = LOCK_MILLISECONDS, max(1, round(seconds * 1000))
    with connection.cursor() as cursor:
        if is_sqlite:
            cursor.execute("PRAGMA busy_timeout")
            (limit,) = cursor.fetchone()
        if wanted > limit - LIMIT_MILLISECONDS:
            yield
            return
        set_to = "PRAGMA busy_timeout =" if is_sqlite else "SET lock_timeout ="
        cursor.execute(f"{set_to} {wanted}")
        try:
            yield
        finally:
            with suppress(DatabaseError):  # the connection has been lost
                cursor.execute(f"{set_to} {limit}")


# The relay reads the log's tail here: nothing else may hold it up.
tail = DatabaseThreads("tail", 1)
# What readers missed; a long read delays only other such reads.
history = DatabaseThreads("history", 2)
# Sessions, users and tokens.
accounts = DatabaseThreads("accounts", 2)
# What coroutines publish: one thread, because one commit waits for another anyway.
publishing = DatabaseThreads("publishing", 1)
# Retention, and the operators' figures.
upkeep = DatabaseThreads("upkeep", 1)

JOBS = (tail, history, accounts, publishing, upkeep)
