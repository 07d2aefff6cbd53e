"""Group commit: publishes that come while a commit is under way are committed together.

A commit costs a flush to the disk, and until then the log's counter is locked: fifty events
in one commit take little longer than one. Nobody waits for company: a publish that finds no
commit under way is committed at once. Later ones queue, and the next commit takes what waits.

One thread commits at a time, the leader. A thread that publishes leads until its own publish
is through, with its own connection, and hands the lead on. For coroutines one of the database's
threads leads until the queue is empty.

``lock`` guards the queue and who leads, and is never held during a commit. A publish that has
been taken from the queue belongs to the leader until it has its outcome.
"""

import asyncio
import logging
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, islice, takewhile

from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from echo.feed import doorbell, log, metrics, threads
from echo.feed.event import Event
from echo.feed.log import Entry, Published
from echo.feed.threads import (
    ANSWER_SECONDS,
    LOCK_MILLISECONDS,
    DatabaseThreads,
    Unanswered,
)

logger = logging.getLogger("echo.feed")

# Others wait for the log's counter meanwhile. A larger publish is committed by itself.
MAX_GROUP_EVENTS = 50
# A commit with less time than this for a coroutine's publish is not begun.
COMMIT_SECONDS = ANSWER_SECONDS - LOCK_MILLISECONDS / 1000
# One with less time than this when its commit has failed is not tried again.
LATE_SECONDS = 0.1

Outcome = list[Published] | Exception
Run = Callable[[Callable[[], None]], None]


class Interrupted(OperationalError):
    """The thread that committed this publish was stopped at its COMMIT."""

    def __init__(self) -> None:
        super().__init__("the commit was interrupted; it may have taken effect")


@dataclass(eq=False, slots=True)
class Publish:
    """One call's events, until the call has its outcome: all of them or an error."""

    entries: Sequence[Entry]
    # A coroutine's: gets the outcome, in its own event loop. None for a thread's.
    future: asyncio.Future[list[Published]] | None = None
    # A thread's: set when there is an outcome, or the thread is to lead.
    turn: threading.Event = field(default_factory=threading.Event)
    # When the call was made, by the monotonic clock.
    began_at: float = field(default_factory=time.monotonic)
    # None until it is known.
    outcome: Outcome | None = None

    @property
    def seconds_left(self) -> float:
        """Return for how long others' locks may hold its commit up; 0 if it was given up."""
        if self.future is None:
            return float("inf")
        if self.future.cancelled():
            return 0.0
        return self.began_at + ANSWER_SECONDS - COMMIT_SECONDS - time.monotonic()

    def result(self) -> list[Published]:
        """Return what was published, or raise what went wrong."""
        assert self.outcome is not None
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class GroupCommit:
    """The publishes of this process that are outside a transaction."""

    def __init__(self, database_threads: DatabaseThreads) -> None:
        # One of them leads for coroutines.
        self.threads = database_threads
        self.reset()
        if hasattr(os, "register_at_fork"):  # not on Windows
            # The leader's thread is not in the child, and never hands the lead on there.
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Begin with an empty queue."""
        # Guards the two below.
        self.lock = threading.Lock()
        # Publishes that no leader has taken yet, in the order of their calls.
        self.queue: list[Publish] = []
        # The publish whose thread leads, or the threads for coroutines; None: nobody does.
        self.leader: Publish | DatabaseThreads | None = None

    # --- callers -----------------------------------------------------------------------

    def commit(self, entries: Sequence[Entry]) -> list[Published]:
        """Commit entries, all or none, in this thread or in the one that leads."""
        publish = Publish(entries)
        try:
            self.join(publish)
            publish.turn.wait()
            while publish.outcome is None:
                self.commit_next()
        finally:
            self.leave(publish)
        return publish.result()

    async def acommit(self, entries: Sequence[Entry]) -> list[Published]:
        """Commit entries, all or none. Raises Unanswered, after which they may still be.

        Entries whose commit has not begun by then, or when this is cancelled, are dropped.
        """
        self.threads.refuse_too_many()
        future = asyncio.get_running_loop().create_future()
        publish = Publish(entries, future)
        self.join(publish)
        try:
            return await self.threads.answer(future)
        finally:
            self.leave(publish)

    def join(self, publish: Publish) -> None:
        """Queue a publish. If nobody leads, its thread is to, or one of the database's."""
        with self.lock:
            self.queue.append(publish)
            if self.leader is None:
                self.pass_lead()

    def leave(self, publish: Publish) -> None:
        """Forget a publish whose caller has its outcome, or does not wait for it any more."""
        if publish.outcome is not None and self.leader is not publish:
            return
        with self.lock:
            with suppress(ValueError):  # it has been taken
                self.queue.remove(publish)
            if self.leader is publish:
                self.pass_lead()

    def pass_lead(self) -> None:
        """Give the lead to the first thread that waits, else lead for the coroutines."""
        self.leader = next((one for one in self.queue if one.future is None), None)
        if self.leader is not None:
            self.leader.turn.set()
        elif self.queue:
            with suppress(RuntimeError):  # the process exits: the coroutines time out
                self.threads.executor.submit(self.lead)
                self.leader = self.threads

    # --- the leader --------------------------------------------------------------------

    def lead(self) -> None:
        """Commit what coroutines publish, until nothing waits."""
        try:
            while self.queue:
                self.commit_next(threads.with_connection)
        finally:
            with self.lock:
                self.pass_lead()

    def commit_next(self, run: Run = lambda function: function()) -> None:
        """Commit the next group, and deliver its outcomes."""
        group = self.take()
        try:
            commit_group(group, run)
        finally:
            with self.lock:  # if this thread is being stopped, others go on
                self.queue[:0] = without_outcome(group)
            deliver([publish for publish in group if publish.outcome is not None])

    def take(self) -> list[Publish]:
        """Take the first publishes from the queue: one, or as many as a group may have."""
        with self.lock:
            counts = accumulate(len(publish.entries) for publish in self.queue)
            fitting = sum(1 for _ in takewhile(MAX_GROUP_EVENTS.__ge__, counts))
            # In one step: a thread that is stopped here loses none of them.
            group = self.queue[: fitting or 1]
            del self.queue[: fitting or 1]
        return group


# --- one group -------------------------------------------------------------------------


def commit_group(group: Sequence[Publish], run: Run) -> None:
    """Commit publishes in one transaction, and set their outcomes.

    An error that one of them has caused must not be the others': each is tried by itself
    then. Not where the database is locked or out of reach: it is so for everybody, and would
    be found out as slowly again for each. But a lock that lasted for as long as one of them
    could wait may still be gone in time for the others: they are tried once more.
    """
    for publish in group:
        if publish.seconds_left <= 0:
            publish.outcome = Unanswered()
    group = without_outcome(group)
    try:
        if group:
            run(partial(write, group))
    except (OperationalError, InterfaceError) as error:
        group = without_outcome(group)
        late = [one for one in group if one.seconds_left <= LATE_SECONDS]
        fail(late or group, error)
        if late:
            commit_group(without_outcome(group), run)
    except Exception as error:  # noqa: BLE001 -- a caller's own: it is raised there
        if len(group) == 1:
            fail(without_outcome(group), error)
        else:
            for publish in without_outcome(group):
                commit_group([publish], run)


def write(group: Sequence[Publish]) -> None:
    """Write publishes to the log in one transaction, and ring the doorbell once."""
    entries = [entry for publish in group for entry in publish.entries]
    is_at_commit = False
    try:
        with lock_limit(group), transaction.atomic():
            written, published = log.append(entries)
            is_at_commit = True
        succeed(group, published)
    except (OperationalError, InterfaceError) as error:
        if is_at_commit:  # who knows whether it was the last word
            fail(group, error)
        raise
    except DatabaseError:
        raise
    except BaseException:
        if is_at_commit:  # to write it again might double it
            for publish in without_outcome(group):
                publish.outcome = Interrupted()
        raise
    if written:
        announce(written)


def lock_limit(group: Sequence[Publish]) -> AbstractContextManager[None]:
    """Return what keeps a commit from happening after a coroutine has given up on it."""
    seconds = min(publish.seconds_left for publish in group)
    if seconds == float("inf"):  # threads only: the connection's own limits hold
        return nullcontext()
    return threads.waiting_for_locks(seconds)


def succeed(group: Sequence[Publish], published: Sequence[Published]) -> None:
    """Give each publish its part of what was published."""
    remaining = iter(published)
    for publish in group:
        publish.outcome = list(islice(remaining, len(publish.entries)))


def fail(group: Sequence[Publish], error: Exception) -> None:
    """Give a publish the error, or each of several one of its own, which is raised there."""
    if len(group) == 1:
        group[0].outcome = error
        return
    for publish in group:
        publish.outcome = OperationalError(*error.args)
        publish.outcome.__cause__ = error


def without_outcome(group: Sequence[Publish]) -> list[Publish]:
    """Return the publishes that have no outcome yet."""
    return [publish for publish in group if publish.outcome is None]


def announce(written: Sequence[Event]) -> None:
    """Count what was written, and ring the doorbell; it is in the log whatever happens."""
    try:
        for source, count in Counter(event.source for event in written).items():
            metrics.published.labels(source).inc(count)
        doorbell.ring_events(written)
    except Exception:
        logger.exception("the doorbell failed: nodes will find the events in the log")


def deliver(group: Sequence[Publish]) -> None:
    """Hand the outcomes to the callers: one call for all of an event loop's."""
    by_loop = defaultdict(list)
    for publish in group:
        metrics.publish_seconds.observe(time.monotonic() - publish.began_at)
        if publish.future is None:
            publish.turn.set()
        else:
            by_loop[publish.future.get_loop()].append(publish)
    for loop, publishes in by_loop.items():
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(resolve, publishes)


def resolve(publishes: Sequence[Publish]) -> None:
    """Resolve the futures of publishes, in their event loop."""
    for publish in publishes:
        future, outcome = publish.future, publish.outcome
        assert future is not None
        assert outcome is not None
        if future.done():  # its caller has given up
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


# Of all that this process publishes outside a transaction.
commits = GroupCommit(threads.publishing)
