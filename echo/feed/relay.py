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
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import DatabaseError

from echo.feed import log, metrics, processes
from echo.feed.access import Interest, Reader
from echo.feed.event import Event, Notice
from echo.feed.farewell import before_shutdown, return_seconds
from echo.feed.local import registry, relays
from echo.feed.log import Page
from echo.feed.nodes import ACQUAINTANCE_SECONDS, Nodes
from echo.feed.question import Question
from echo.feed.recent import Recent
from echo.feed.rights import Rights
from echo.feed.stats import STATS_TOPIC, Stats
from echo.feed.subscription import Connection, State, Subscription
from echo.feed.tally import Tallies
from echo.feed.threads import history, tail, upkeep
from echo.models import Event as EventRow
from echo.protocol import CloseCode, EventId, FeedQuery, TooMany

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

read_head = tail.wrap(log.head)
read_tail = tail.wrap(log.tail)
renew_epoch = tail.wrap(log.renew_epoch)
read_start = history.wrap(log.start)
read_page = history.wrap(log.page)
read_oldest = history.wrap(log.oldest)
prune = upkeep.wrap(log.prune)


class Relay:
    """Carries committed events to this process's subscriptions."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.node = f"{os.getpid():x}-{secrets.token_hex(3)}"
        self.started_at = time.time()
        self.head = EventId("", 0)
        self.subscriptions: dict[str, Subscription] = {}
        self.addresses: Counter[str] = Counter()
        self.oldest_known: dict[Interest, tuple[float, EventId]] = {}
        self.readers_of: dict[str, dict[str, Subscription]] = {}
        self.recent = Recent()
        self.tallies = Tallies()
        self.stats = Stats(self)
        self.nodes = Nodes(self)
        self.rights = Rights(self)
        # Places that are taken by connections whose subscription is not there yet.
        self.reserved = 0
        self.log_up = True
        self.look = asyncio.Event()
        self.catching_up = asyncio.Lock()
        self.tasks: list[asyncio.Task[None]] = []
        self.stopping = False
        self.deserted = asyncio.Event()

    # --- life --------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes the log's head for its own, and begins to listen and to look."""
        self.head = await read_head()
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

    async def stop(self) -> None:
        """Ends the relay's tasks; subscriptions are not told."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.watch.close()

    async def forever(self, job: Any) -> None:
        """Runs a job again when it fails, with one warning for a row of failures."""
        failed_at = float("-inf")
        while True:
            try:
                await job()
            except Exception as error:  # noqa: BLE001 -- the relay outlives whatever happens
                if self.loop.time() - failed_at > QUIET_SECONDS:
                    logger.warning(
                        "feed: %s failed, trying again: %r", job.__name__, error
                    )
                failed_at = self.loop.time()
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

        Raises FeedError for a ``since`` that is no id, TooMany at a limit.
        """
        self.reserve(connection.address)
        try:
            if not self.subscriptions:
                self.look.set()  # with nobody to tell, it may be a second since the last look
            cursor, notice = await self.judge(interest, since)
        except BaseException:
            self.free_place(connection.address)
            raise
        finally:
            self.reserved -= 1
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

    def reserve(self, address: str) -> None:
        """Takes a place for a connection, or raises TooMany at one of the limits.

        Before anything is waited for: the others of a burst would all find a place.
        """
        if len(self.subscriptions) + self.reserved >= settings.FEED_MAX_CONNECTIONS:
            raise TooMany(
                f"this node has its {settings.FEED_MAX_CONNECTIONS} connections: try later"
            )
        if self.addresses[address] >= settings.FEED_MAX_CONNECTIONS_PER_ADDRESS:
            raise TooMany(
                f"{address} has its {settings.FEED_MAX_CONNECTIONS_PER_ADDRESS} "
                "connections: close some first"
            )
        self.reserved += 1
        self.addresses[address] += 1

    def free_place(self, address: str) -> None:
        """Counts one connection of an address less."""
        self.addresses[address] -= 1
        if not self.addresses[address]:
            del self.addresses[address]

    async def judge(
        self, interest: Interest, since: str
    ) -> tuple[EventId, Notice | None]:
        """The cursor to begin at; asks the database only when memory cannot tell."""
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
        cursor, notice = await read_start(interest, since)
        if cursor.epoch != self.head.epoch or cursor.number > self.head.number:
            await self.catch_up()
        return cursor, notice

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forgets a subscription; unknown ones are none."""
        identity = subscription.connection.id
        if self.subscriptions.pop(identity, None) is None:
            return
        self.free_place(subscription.connection.address)
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

    async def page(self, interest: Interest, after: int, up_to: int) -> Page:
        """What an interest is told of between two numbers, from memory when it can be."""
        if self.recent.reaches_back_to(after):
            return self.recent.page(interest, after, up_to)
        page: Page = await read_page(interest, after, up_to)
        return page

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
        try:
            head: EventId = await read_head()
        except Exception:
            self.log_up = False
            raise
        self.log_up = True
        return head

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
        """The cursor from which everything kept can be had, as of a second ago at most."""
        known_at, cursor = self.oldest_known.get(interest, (0.0, self.head))
        if self.loop.time() - known_at > 1:
            cursor = EventId(self.head.epoch, await read_oldest(interest))
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

starting: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
    WeakKeyDictionary()
)


async def get_relay() -> Relay:
    """This event loop's relay, started when it is first asked for."""
    loop = asyncio.get_running_loop()
    if (relay := relays.get(loop)) is not None:
        return relay
    with registry:
        lock = starting.setdefault(loop, asyncio.Lock())
    async with lock:
        if loop not in relays:
            relay = Relay()
            await relay.start()
            with registry:
                relays[loop] = relay
    return relays[loop]


async def subscribe(
    query: FeedQuery, reader: Reader, connection: Connection, heartbeat_seconds: float
) -> Subscription:
    """What a transport calls: a subscription on this event loop's relay.

    Raises FeedError for topics that may not be read, and at a limit.
    """
    interest = Interest(query.topics, reader)
    relay = await get_relay()
    return await relay.subscribe(interest, query.since, connection, heartbeat_seconds)


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
