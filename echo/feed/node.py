"""A node: one process's part of the feed, put together, started, and kept running.

One for each event loop that serves. Transports subscribe here, and operators' pages ask
here about all nodes.
"""

import asyncio
import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from django.db import DatabaseError

from echo.feed import doorbell, processes, relay, retention, threads
from echo.feed.access import Interest, Reader
from echo.feed.cluster import Cluster, NodeList, Question, Survey
from echo.feed.connection import Connection
from echo.feed.event import Event
from echo.feed.history import History
from echo.feed.hub import Hub
from echo.feed.relay import Relay
from echo.feed.rights import Rights
from echo.feed.shutdown import before_shutdown
from echo.feed.subscription import Subscription
from echo.protocol import FeedQuery

logger = logging.getLogger("echo.feed")

# Failures no further apart than this are one row, which is warned of once.
QUIET_SECONDS = 30.0

Job = Callable[[], Awaitable[None]]
Answer = TypeVar("Answer")
Result = TypeVar("Result")


class Failures:
    """A row of failures, which is warned of once."""

    def __init__(self) -> None:
        # When the last one was, by the monotonic clock.
        self.failed_at = float("-inf")

    def warn(self, what: str, error: Exception) -> None:
        """Log a failure, unless the last one was a moment ago."""
        if time.monotonic() - self.failed_at > QUIET_SECONDS:
            logger.warning("feed: %s: %r", what, error)
        self.failed_at = time.monotonic()


class Node:
    """What one process has of the feed: history, hub, relay, rights, and its cluster."""

    def __init__(self) -> None:
        # All of it runs in this event loop only.
        self.loop = asyncio.get_running_loop()
        clock = self.loop.time
        # Differs in each start of each process.
        self.name = f"{os.getpid():x}-{secrets.token_hex(3)}"
        # The past, up to the last event that was fanned out here.
        self.history = History(clock)
        # The subscriptions.
        self.hub = Hub(self.name, self.history)
        # Judges them again.
        self.rights = Rights(self.hub, clock)
        # Moves the head.
        self.relay = Relay(self.hub, on_new_life=self.follow_log)
        # The other nodes.
        self.cluster = Cluster(self.relay, self.rights, clock)
        # What runs until `stop`.
        self.tasks: list[asyncio.Task[None]] = []

    # --- life --------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the log's head for its own; begin to receive and to look."""
        await self.relay.start()
        processes.hold_lock()
        jobs: list[Job] = [
            self.relay.keep_watching,
            self.hub.keep_beating,
            self.rights.keep_judging,
            retention.keep_retention,
            *self.cluster.jobs(),
        ]
        self.tasks = [
            asyncio.create_task(keep_running(job), name=f"feed {job.__name__}")
            for job in jobs
        ]
        before_shutdown(self.hub.drain)

    async def stop(self) -> None:
        """End the node's tasks; its readers are not sent ``bye``."""
        tasks = [*self.tasks, *self.cluster.tasks, *self.hub.endings]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.relay.stop()
        doorbell.remove_listener(self.loop)
        with nodes_lock:
            nodes.pop(self.loop, None)

    # A method, because the relay is made before the cluster that it calls.
    def follow_log(self) -> None:
        """Move to the group of the log's new life."""
        self.cluster.follow_log()

    # --- doorbells of this process (see doorbell.Listener) ------------------------------

    def receive_events(
        self, events: Sequence[Event], committed_at: float | None
    ) -> None:
        """Deliver events that this process has committed."""
        self.relay.receive_events(events, committed_at)

    def receive_changes(self, changed: Sequence[str], over: Sequence[str]) -> None:
        """Judge the readers of accounts that this process has changed."""
        self.rights.receive_changes(changed, over)

    # --- subscriptions -----------------------------------------------------------------

    async def subscribe(
        self,
        interest: Interest,
        since: str,
        connection: Connection,
        heartbeat_seconds: float,
    ) -> Subscription:
        """Return a subscription that begins after ``since``, with its ``reset`` if any.

        Raises FeedError for a ``since`` that is no id, TooMany at a limit, and a
        DatabaseError when the log is needed and cannot be read.
        """
        self.hub.limits.reserve(connection.address)
        try:
            cursor, notice = await self.relay.find_start(
                interest, since, connection.address
            )
        except BaseException:
            self.hub.limits.release(connection.address)
            raise
        subscription = Subscription(
            self.history,
            interest,
            connection,
            heartbeat_seconds,
            node_name=self.name,
            on_close=self.unsubscribe,
            return_seconds=self.hub.return_seconds,
        )
        subscription.begin(self.history.head if since == "now" else cursor, notice)
        subscription.resumed = since not in ("now", "earliest") and notice is None
        self.hub.add(subscription)
        self.rights.join(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription; no-op if unknown."""
        self.hub.remove(subscription)
        self.rights.leave(subscription)


async def keep_running(job: Job) -> None:
    """Run a job again when it fails, with one warning for a row of failures."""
    failures = Failures()
    while True:
        try:
            await job()
        except Exception as error:  # noqa: BLE001 -- the node outlives whatever happens
            failures.warn(f"{job.__name__} failed, trying again", error)
            await asyncio.sleep(random.uniform(0.2, 1))


# --- this process's nodes --------------------------------------------------------------

# By event loop; closed loops are dropped when another node starts.
nodes: dict[asyncio.AbstractEventLoop, Node] = {}
starting: dict[asyncio.AbstractEventLoop, asyncio.Task[Node]] = {}
# Held while either is looked at or changed: a process may have loops in several threads.
nodes_lock = threading.Lock()
start_failures = Failures()


async def get_node() -> Node:
    """Return this event loop's node, started when it is first asked for.

    Concurrent callers share the start, and its failure, a DatabaseError.
    """
    loop = asyncio.get_running_loop()
    with nodes_lock:
        if (node := nodes.get(loop)) is not None:
            return node
        task = starting.get(loop)
        if task is None or task.done():
            task = starting[loop] = asyncio.create_task(start_node(), name="feed start")
            task.add_done_callback(forget_start)
    return await asyncio.shield(task)


async def start_node() -> Node:
    """Start this event loop's node. Raises DatabaseError when the log cannot be read."""
    node = Node()
    try:
        await node.start()
    except DatabaseError as error:
        start_failures.warn("the log cannot be read", error)
        raise
    with nodes_lock:
        for loop in [loop for loop in nodes if loop.is_closed()]:
            del nodes[loop]
        nodes[node.loop] = node
    doorbell.add_listener(node.loop, node)
    return node


def forget_start(task: asyncio.Task[Node]) -> None:
    """Let the next caller try again after a failure; those who waited have got it."""
    with nodes_lock:
        starting.pop(task.get_loop(), None)
    if not task.cancelled():
        task.exception()


# --- the feed's door -------------------------------------------------------------------


async def subscribe(
    query: FeedQuery, reader: Reader, connection: Connection, heartbeat_seconds: float
) -> Subscription:
    """Return a subscription on this event loop's node; transports call it.

    Raises FeedError for topics that may not be read, and at a limit; and a DatabaseError
    when the log cannot be read, within threads.ANSWER_SECONDS.
    """
    interest = Interest(query.topics, reader)
    try:
        async with asyncio.timeout(threads.ANSWER_SECONDS):
            node = await get_node()
            return await node.subscribe(
                interest, query.since, connection, heartbeat_seconds
            )
    except TimeoutError:
        raise threads.Unanswered from None


async def survey(question: Question[Answer, Result]) -> Survey[Result]:
    """Ask all nodes a question, and return their answers as one result."""
    return await (await get_node()).cluster.surveys.ask(question)


async def list_nodes() -> NodeList:
    """Return all nodes, with the log's head of this moment."""
    node = await get_node()
    try:
        head = await relay.read_head()
    except DatabaseError:
        head = None
    return node.cluster.list_nodes(head)
