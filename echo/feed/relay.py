"""The relay: one per process and event loop, the only reader of the log's tail.

The log is the truth and the channel layer a doorbell. An event after the relay's head is
fanned out; an older one is dropped; a later one makes it read what lies between. Should no
doorbell ring, the log is looked at anyway, a second later at most.
"""

import asyncio
import contextlib
import logging
import os
import random
import secrets
import time
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DatabaseError

from echo.feed import history as past
from echo.feed import log, metrics, processes, retention
from echo.feed.access import Interest, Reader
from echo.feed.allowance import Allowances
from echo.feed.event import Event, Notice
from echo.feed.farewell import before_shutdown, return_seconds
from echo.feed.history import Page
from echo.feed.local import registry, relays
from echo.feed.nodes import ACQUAINTANCE_SECONDS, Nodes
from echo.feed.question import Question
from echo.feed.recent import Recent
from echo.feed.rights import Rights
from echo.feed.shared import SharedReads
from echo.feed.stats import STATS_TOPIC, Stats
from echo.feed.subscription import Connection, State, Subscription
from echo.feed.tally import Tallies
from echo.feed.threads import ANSWER_SECONDS, Unanswered, history, tail, upkeep
from echo.limits import ConnectionLimits
from echo.models import Event as EventRow
from echo.protocol import CloseCode, EventId, FeedQuery

logger = logging.getLogger("echo.feed")

# A doorbell that never rang costs at most this.
POLL_SECONDS = 1.0
# On SQLite a look costs 3 µs, so it may be had often: other processes are heard at once.
LOCAL_POLL_SECONDS = 0.005
PRUNE_SECONDS = 2.0
# Topics whose readers are remembered; beyond it they are found again. Every connect looks
# at each of them.
REMEMBERED_TOPICS = 1000
REMEMBERED_INTERESTS = 1000
# Failures no further apart than this are one row, which is warned of once.
QUIET_SECONDS = 30.0
FAREWELL_SECONDS = 2.0
REMEMBERED_AT_START = 200

read_head = tail.wrap(log.head)
read_tail = tail.wrap(log.tail)
renew_epoch = tail.wrap(log.renew_epoch)
read_start = history.wrap(past.start)
read_page = history.wrap(past.page)
read_oldest = history.wrap(past.oldest)
prune = upkeep.wrap(retention.prune)


class Failures:
    """A row of failures, which is warned of once."""

    def __init__(self) -> None:
        self.failed_at = float("-inf")

    def warn(self, what: str, error: Exception) -> None:
        """Log a failure, unless the last one was a moment ago."""
        if time.monotonic() - self.failed_at > QUIET_SECONDS:
            logger.warning("feed: %s: %r", what, error)
        self.failed_at = time.monotonic()


class Relay:
    """Carries committed events to this process's subscriptions."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.node = f"{os.getpid():x}-{secrets.token_hex(3)}"
        self.started_at = time.time()
        self.head = EventId("", 0)
        self.subscriptions: dict[str, Subscription] = {}
        # Counts the subscriptions, and the places of those that are not there yet.
        self.limits = ConnectionLimits("FEED")
        self.oldest_known: dict[Interest, tuple[float, EventId]] = {}
        self.readers_of: dict[str, dict[str, Subscription]] = {}
        self.recent = Recent()
        self.shared = SharedReads()
        self.allowances = Allowances(self.loop.time)
        self.tallies = Tallies()
        self.stats = Stats(self)
        self.nodes = Nodes(self)
        self.rights = Rights(self)
        # False when the log has refused to be read; a look without an answer changes nothing.
        self.log_up = True
        # When the log was last read, by the loop's clock.
        self.log_seen_at = self.loop.time()
        self.look = asyncio.Event()
        self.catching_up = asyncio.Lock()
        self.tasks: list[asyncio.Task[None]] = []
        self.stopping = False
        self.deserted = asyncio.Event()

    # --- life --------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the log's head for its own; begin to listen and to look."""
        self.head = await self.read_log_head()
        await self.remember_last()
        self.watch = log.CommitWatch()
        jobs = [self.watch_log, self.tick, self.keep_retention, self.stats.keep]
        jobs += [self.rights.keep]
        processes.hold_lock()
        if self.nodes.carries:
            self.nodes.acquainted_at = self.loop.time() + ACQUAINTANCE_SECONDS
            jobs += [self.nodes.listen, self.nodes.pulse]
        self.tasks = [
            asyncio.create_task(self.forever(job), name=f"feed {job.__name__}")
            for job in jobs
        ]
        before_shutdown(self.say_farewell)

    async def remember_last(self) -> None:
        """Fill the memory with the log's last events, for readers who come back together.

        Those who had a node that was restarted have missed a few events at most.
        """
        with contextlib.suppress(DatabaseError):
            number = max(0, self.head.number - REMEMBERED_AT_START)
            while number < self.head.number:
                events = await read_tail(number, self.head.number)
                if not events or events[0].epoch != self.head.epoch:
                    return self.recent.clear()
                if events[0].number != number + 1:
                    self.recent.clear()
                for event in events:
                    self.recent.append(event)
                number = events[-1].number

    async def stop(self) -> None:
        """Ends the relay's tasks; subscriptions are not told."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.watch.close()

    async def forever(self, job: Any) -> None:
        """Run a job again when it fails, with one warning for a row of failures."""
        failures = Failures()
        while True:
            try:
                await job()
            except Exception as error:  # noqa: BLE001 -- the relay outlives whatever happens
                failures.warn(f"{job.__name__} failed, trying again", error)
                await asyncio.sleep(random.uniform(0.2, 1))

    # --- subscriptions -----------------------------------------------------------------

    async def subscribe(
        self,
        interest: Interest,
        since: str,
        connection: Connection,
        heartbeat_seconds: float,
    ) -> Subscription:
        """A subscription that begins after ``since``, with its ``reset`` if there is one.

        Raises FeedError for a ``since`` that is no id, TooMany at a limit, and a
        DatabaseError when the log is needed and cannot be read.
        """
        self.limits.take(connection.address)
        try:
            if not self.subscriptions:
                self.look.set()  # with nobody to tell, it may be a second since the last look
            cursor, notice = await self.judge(interest, since, connection.address)
        except BaseException:
            self.limits.free(connection.address)
            raise
        subscription = Subscription(self, interest, connection, heartbeat_seconds)
        if since == "now":
            cursor = self.head
        subscription.position = cursor
        subscription.resumed = since not in ("now", "earliest") and notice is None
        if cursor == self.head:
            subscription.state = State.LIVE
        if notice is not None:
            metrics.resets.labels(notice.fields["reason"]).inc()
            subscription.notices.append(notice)
        self.subscriptions[connection.id] = subscription
        for topic, readers_of_topic in self.readers_of.items():
            if interest.matches(topic):
                readers_of_topic[connection.id] = subscription
        self.stats.joined(subscription)
        self.rights.join(subscription)
        metrics.connections.labels(connection.transport).inc()
        if self.stopping:
            self.dismiss(subscription)
        return subscription

    async def judge(
        self, interest: Interest, since: str, address: str
    ) -> tuple[EventId, Notice | None]:
        """Return the cursor to begin at; ask the database only when memory cannot tell."""
        if since == "now":
            return self.head, None
        if since != "earliest":
            asked = EventId.parse(since)
            if not self.subscriptions:
                # Memory may be a second old, and would say that nothing was missed.
                with contextlib.suppress(DatabaseError):
                    await self.catch_up()
            if asked == self.head or self.remembers(asked):
                return asked, None
        cursor, notice = await self.read_start(interest, since, address)
        if cursor.epoch != self.head.epoch or cursor.number > self.head.number:
            await self.catch_up()
        return cursor, notice

    async def read_start(
        self, interest: Interest, since: str, address: str
    ) -> tuple[EventId, Notice | None]:
        """Ask the database where a reader begins; raises TooMany at the address's limit."""
        key = "start", self.head, interest, since
        if not self.shared.knows(key):
            self.allowances.spend(address)
        return await self.shared.read(key, partial(read_start, interest, since))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forgets a subscription; unknown ones are none."""
        identity = subscription.connection.id
        if self.subscriptions.pop(identity, None) is None:
            return
        self.limits.free(subscription.connection.address)
        for readers_of_topic in self.readers_of.values():
            readers_of_topic.pop(identity, None)
        self.stats.left(subscription)
        self.rights.leave(subscription)
        metrics.connections.labels(subscription.connection.transport).dec()
        if self.stopping and not self.subscriptions:
            self.deserted.set()

    def narrow(self, subscription: Subscription, interest: Interest) -> None:
        """Gives a subscription an interest that allows less."""
        identity = subscription.connection.id
        self.stats.left(subscription)
        self.rights.leave(subscription)
        subscription.narrow(interest)
        for topic, readers_of_topic in self.readers_of.items():
            if not interest.matches(topic):
                readers_of_topic.pop(identity, None)
        self.stats.joined(subscription)
        self.rights.add(subscription)

    # --- fan-out -----------------------------------------------------------------------

    def take(self, events: Iterable[Event], committed_at: float | None = None) -> None:
        """Takes events a doorbell brought: fans out what comes next, and notices a gap."""
        for event in events:
            if event.epoch != self.head.epoch or event.number > self.head.number + 1:
                self.look.set()
                return
            if event.number == self.head.number + 1:
                self.fan_out(event, committed_at)
            else:
                self.tallies.committed(event, committed_at)

    def fan_out(self, event: Event, committed_at: float | None = None) -> None:
        """Offers the next event to everybody who reads its topic: no I/O, no copy."""
        self.head = event.id
        self.recent.append(event)
        subscriptions = self.readers_of.get(event.topic)
        if subscriptions is None:
            subscriptions = self.find_readers(event.topic)
        readers = len(subscriptions)
        sent_at = datetime.fromisoformat(event.sent_at).timestamp()
        self.tallies.remember(event, readers)
        if event.topic != STATS_TOPIC:
            is_sample = self.stats.count(readers)
            if is_sample or event.source == EventRow.Source.ADMIN:
                event = self.tallies.begin(event, sent_at, readers, committed_at)
        for subscription in subscriptions.values():
            subscription.offer(event)
        metrics.events.inc()
        metrics.deliveries.inc(readers)
        metrics.delivery_seconds.observe(max(0.0, time.time() - sent_at))

    def find_readers(self, topic: str) -> dict[str, Subscription]:
        """The subscriptions that read a topic, remembered for its next event."""
        if len(self.readers_of) >= REMEMBERED_TOPICS:
            self.readers_of.clear()
        found = {
            identity: subscription
            for identity, subscription in self.subscriptions.items()
            if subscription.interest.matches(topic)
        }
        self.readers_of[topic] = found
        return found

    def remembers(self, cursor: EventId) -> bool:
        """True when every event after the cursor is in memory."""
        return (
            cursor.epoch == self.head.epoch
            and cursor.number <= self.head.number
            and self.recent.reaches_back_to(cursor.number)
        )

    async def page(
        self, interest: Interest, after: int, up_to: int, address: str
    ) -> Page:
        """Return what an interest is given between two numbers, from memory if it can be.

        From the log at the pace that its address is allowed.
        """
        if self.recent.reaches_back_to(after):
            return self.recent.page(interest, after, up_to)
        key = "page", self.head.epoch, interest, after, up_to
        read = partial(read_page, interest, after, up_to)
        if self.shared.knows(key):
            return await self.shared.read(key, read)
        async with self.allowances.turn(address):
            return await self.shared.read(key, read)

    # --- the log -----------------------------------------------------------------------

    async def watch_log(self) -> None:
        """Compares the head with the log's when there may be news, and each second anyway."""
        last_look = self.loop.time()
        while True:
            pause = (
                LOCAL_POLL_SECONDS
                if self.watch.cheap and self.subscriptions
                else POLL_SECONDS
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.look.wait()
            overdue = self.loop.time() - last_look >= POLL_SECONDS
            if self.look.is_set() or overdue or self.watch.changed():
                self.look.clear()
                last_look = self.loop.time()
                await self.catch_up()

    async def catch_up(self) -> None:
        """Reads the log from the relay's head to its own, and fans out what it finds."""
        async with self.catching_up:
            before = self.head  # a doorbell may move the head on during the read
            last = await self.read_log_head()
            if last.epoch != before.epoch or last.number < before.number:
                await self.begin_new_life(last)
            while self.head.number < last.number:
                metrics.gaps_healed.inc()
                head = self.head
                events = await read_tail(head.number, last.number)
                if not self.take_page(head, events, last):
                    return
                await asyncio.sleep(
                    0
                )  # the writers' turn: their queues hold a page or two

    async def read_log_head(self) -> EventId:
        """Return the log's head; note whether it could be had."""
        try:
            head: EventId = await read_head()
        except Unanswered:  # slow, or not at all: `log_seen_at` tells
            raise
        except Exception:
            self.log_up = False
            raise
        self.log_up = True
        self.log_seen_at = self.loop.time()
        return head

    @property
    def log_age_seconds(self) -> float:
        """How long ago the log was last read."""
        return self.loop.time() - self.log_seen_at

    def take_page(self, head: EventId, events: list[Event], last: EventId) -> bool:
        """Fans out a page of the log; False when there is no more to read.

        Where retention has been faster than this relay, each reader is left to find out
        for itself whether something of its own has gone.
        """
        if events and events[0].epoch != head.epoch:
            return False  # another life of the log has begun: the next look tells it
        if not events or events[0].number > head.number + 1:
            if self.head != head:
                return True  # a doorbell was faster
            self.skip_to(
                EventId(head.epoch, events[0].number - 1 if events else last.number)
            )
        for event in events:
            if event.number == self.head.number + 1:
                self.fan_out(event)
        return bool(events)

    def skip_to(self, head: EventId) -> None:
        """Moves on over numbers that have been pruned."""
        self.recent.clear()
        self.head = head
        for subscription in self.subscriptions.values():
            subscription.fall_behind()
            subscription.wake()

    async def begin_new_life(self, last: EventId) -> None:
        """The log was wiped or restored: every reader is told, and starts at its new head.

        A log that went backwards under its old name is an older copy, whose numbers would
        soon name other events: it gets a new epoch.
        """
        reason = "epoch"
        if last.epoch == self.head.epoch:
            reason, last = "ahead", await renew_epoch(last.epoch)
        logger.warning(
            "the log is another one: %s was %s; readers are reset", last, self.head
        )
        self.recent.clear()
        self.shared.clear()
        self.tallies.clear()
        self.head = last
        for subscription in self.subscriptions.values():
            subscription.lose(reason, last)
        self.nodes.background(self.nodes.follow())

    async def keep_retention(self) -> None:
        """Prunes a little now and then; at once again while there is more to prune."""
        while True:
            gone = await prune()
            await asyncio.sleep(
                0.05 if gone else PRUNE_SECONDS * random.uniform(0.5, 1.5)
            )

    # --- clock, end --------------------------------------------------------------------

    async def tick(self) -> None:
        """Once a second: heartbeats, and nodes that are gone are forgotten."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for subscription in list(self.subscriptions.values()):
                subscription.beat(now)
            self.nodes.forget_gone()

    def describe(self) -> dict[str, Any]:
        """This node, as others and the operators see it."""
        return {
            "node": self.node,
            "pid": os.getpid(),
            "started_at": self.started_at,
            "head": str(self.head),
            "connections": len(self.subscriptions),
            "channel_layer": self.nodes.state,
        }

    async def oldest(self, interest: Interest) -> EventId:
        """Return the cursor from which everything kept can be had, of a second ago at most.

        While the log cannot be read it is this node's head: what comes after that is kept.
        """
        known_at, cursor = self.oldest_known.get(interest, (0.0, self.head))
        if self.loop.time() - known_at > 1:
            try:
                number = await self.shared.read(
                    ("oldest", interest), partial(read_oldest, interest)
                )
            except DatabaseError:
                return self.head
            cursor = EventId(self.head.epoch, number)
            if len(self.oldest_known) >= REMEMBERED_INTERESTS:
                self.oldest_known.clear()
            self.oldest_known[interest] = self.loop.time(), cursor
        return cursor

    async def say_farewell(self) -> None:
        """Says ``bye`` to every reader, with return times spread out, and waits a little."""
        self.stopping = True
        for subscription in list(self.subscriptions.values()):
            self.dismiss(subscription)
        if self.subscriptions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.deserted.wait(), FAREWELL_SECONDS)

    def dismiss(self, subscription: Subscription) -> None:
        """Says ``bye`` to one reader, who comes back at a time of its own."""
        retry_seconds = return_seconds(len(self.subscriptions))
        subscription.end(CloseCode.SHUTDOWN, "shutdown", retry_seconds)


# --- the process's relays --------------------------------------------------------------

starting: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Relay]] = (
    WeakKeyDictionary()
)


start_failures = Failures()


async def get_relay() -> Relay:
    """Return this event loop's relay, started when it is first asked for.

    Those who ask meanwhile share the attempt, and its failure.
    """
    loop = asyncio.get_running_loop()
    if (relay := relays.get(loop)) is not None:
        return relay
    with registry:
        task = starting.get(loop)
        if task is None or task.done():
            task = starting[loop] = asyncio.create_task(
                start_relay(), name="feed start"
            )
            task.add_done_callback(forget_start)
    return await asyncio.shield(task)


async def start_relay() -> Relay:
    relay = Relay()
    try:
        await relay.start()
    except DatabaseError as error:
        start_failures.warn("the log cannot be read", error)
        raise
    with registry:
        relays[relay.loop] = relay
    return relay


def forget_start(task: asyncio.Task[Relay]) -> None:
    """Let the next who asks try again after a failure, which those who waited have got."""
    with registry:
        starting.pop(task.get_loop(), None)
    if not task.cancelled():
        task.exception()


async def subscribe(
    query: FeedQuery, reader: Reader, connection: Connection, heartbeat_seconds: float
) -> Subscription:
    """Return a subscription on this event loop's relay; transports call it.

    Raises FeedError for topics that may not be read, and at a limit; and a DatabaseError
    when the log cannot be read, within ANSWER_SECONDS.
    """
    interest = Interest(query.topics, reader)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            relay = await get_relay()
            return await relay.subscribe(
                interest, query.since, connection, heartbeat_seconds
            )
    except TimeoutError:
        raise Unanswered from None


async def ask(question: Question) -> dict[str, Any]:
    """What all nodes answer to an operator's question."""
    return await (await get_relay()).nodes.ask(question)


async def describe_nodes() -> dict[str, Any]:
    """``log``, its head (None while it is down), and a description of each of the ``nodes``.

    ``isolated`` is True when other processes may be there whom no channel layer reaches.
    """
    relay = await get_relay()
    try:
        head = str(await read_head())
    except DatabaseError:
        head = None
    return {
        "log": head,
        "nodes": relay.nodes.describe(),
        "isolated": relay.nodes.is_isolated,
    }
