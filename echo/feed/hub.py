"""The hub: this process's live subscriptions, and the fan-out of each event to its readers.

Does no I/O: an event is queued for its readers, and each transport writes at its client's
pace. An event finds its readers by the patterns that match its topic, so its cost depends
on who reads it and not on who is connected.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from itertools import groupby
from operator import attrgetter

from echo.feed import metrics
from echo.feed.access import Interest, is_public, patterns_of
from echo.feed.connection import return_seconds
from echo.feed.event import Batch, Event
from echo.feed.history import History
from echo.feed.subscription import Batches, Subscription
from echo.feed.tallies import Tallies
from echo.limits import ConnectionLimits
from echo.protocol import CloseCode, EventId

# The key in the index of signed-in readers of *; no pattern has a space. They alone may be
# given more than what is public.
SIGNED_IN = "* signed in"
# How long `drain` waits for the readers to be gone.
DRAIN_SECONDS = 2.0
# Connections that are ended before the event loop has its turn.
BATCH_CONNECTIONS = 250
# Readers that are written to before it has: 5 ms or so.
WRITES_A_TURN = 500


class Hub:
    """The subscriptions of one process, by their connection and by what they read."""

    def __init__(self, node_name: str, history: History) -> None:
        # The name of this node.
        self.node_name = node_name
        # Its head moves on with each event that is fanned out.
        self.history = history
        # The open subscriptions, by their connection's id.
        self.subscriptions: dict[str, Subscription] = {}
        # The same by each of their `index_keys`; a key without readers is not there.
        self.by_pattern: dict[str, dict[str, Subscription]] = {}
        # How many there are of each transport.
        self.transports: Counter[str] = Counter()
        # Counts the subscriptions, and those that are about to be added.
        self.limits = ConnectionLimits("FEED")
        # What has been handed out to them.
        self.tallies = Tallies()
        # Readers that wait for `hand_out`.
        self.due: deque[Subscription] = deque()
        # True while it is to go on in the event loop's next turn.
        self.is_handing_out = False
        # True once the process is to stop.
        self.is_draining = False
        # Set when the last reader has gone while draining.
        self.drained = asyncio.Event()
        # The tasks of `end`, kept until they are done.
        self.endings: set[asyncio.Task[None]] = set()

    # --- who reads ---------------------------------------------------------------------

    def add(self, subscription: Subscription) -> None:
        """Add a subscription; end it at once while the process is stopping.

        Its place has been taken from ``limits`` before, and is given back by ``remove``.
        """
        self.subscriptions[subscription.connection.id] = subscription
        self.index(subscription)
        self.transports[subscription.connection.transport] += 1
        metrics.connections.labels(subscription.connection.transport).inc()
        if self.is_draining:
            self.dismiss(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription; no-op if unknown."""
        connection = subscription.connection
        if self.subscriptions.pop(connection.id, None) is None:
            return
        self.limits.release(connection.address)
        self.unindex(subscription)
        self.transports[connection.transport] -= 1
        metrics.connections.labels(connection.transport).dec()
        if self.is_draining and not self.subscriptions:
            self.drained.set()

    def narrow(self, subscription: Subscription, interest: Interest) -> None:
        """Give a subscription an interest that allows less."""
        self.unindex(subscription)
        subscription.narrow(interest)
        self.index(subscription)

    def index(self, subscription: Subscription) -> None:
        """Add a subscription to the index of patterns."""
        for key in index_keys(subscription.interest):
            readers = self.by_pattern.setdefault(key, {})
            readers[subscription.connection.id] = subscription

    def unindex(self, subscription: Subscription) -> None:
        """Remove a subscription from the index of patterns."""
        for key in index_keys(subscription.interest):
            readers = self.by_pattern[key]
            del readers[subscription.connection.id]
            if not readers:
                del self.by_pattern[key]

    def readers(self, topic: str) -> Collection[Subscription]:
        """Return the subscriptions that read a topic and may, each once.

        Copy it before an await: it may be a view of the index.
        """
        found = [
            readers
            for pattern in patterns_of(topic)
            if (readers := self.by_pattern.get(pattern)) is not None
        ]
        # Any pattern but * was judged as a whole when its interest was made.
        if not is_public(topic) and "*" in self.by_pattern:
            found[-1] = {
                identity: subscription
                for identity, subscription in self.by_pattern.get(SIGNED_IN, {}).items()
                if subscription.interest.reader.may_read(topic)
            }
        if len(found) == 1:
            return found[0].values()
        # A subscription may be there under several patterns.
        merged: dict[str, Subscription] = {}
        for readers in found:
            merged |= readers
        return merged.values()

    # --- what they are given -----------------------------------------------------------

    def fan_out(
        self, events: Sequence[Event], committed_at: float | None = None
    ) -> None:
        """Offer the next events to everybody who reads their topics, and hand them out."""
        runs = [list(run) for _, run in groupby(events, attrgetter("topic"))]
        # Who reads two topics is written both together, by `hand_out`.
        at_once = 0 if len(runs) > 1 or self.due else WRITES_A_TURN
        for run in runs:
            self.offer(run, committed_at, at_once)
        if at_once and self.due:
            self.hand_out_soon()
        elif self.due and not self.is_handing_out:
            self.hand_out()

    def offer(
        self, events: list[Event], committed_at: float | None, at_once: int
    ) -> None:
        """Offer the next events, all of one topic, to its readers.

        So many may be written to at once: one look at a reader costs less than two.
        """
        readers = self.readers(events[0].topic)
        now = time.time()
        for place, event in enumerate(events):
            self.history.append(event)
            events[place] = self.tallies.record_offer(event, len(readers), committed_at)
            metrics.delivery_seconds.observe(max(0.0, now - event.sent_timestamp))
        batch = Batch(events)
        now = time.monotonic()
        for place, subscription in enumerate(readers):
            if subscription.offer(batch, now, at_once=place < at_once):
                self.due.append(subscription)
        metrics.events.inc(len(events))
        metrics.deliveries.inc(len(readers) * len(events))

    def hand_out(self) -> None:
        """Write to some readers what they are due, and in later turns to the others.

        What is offered to a reader before its turn comes is written with the rest.
        """
        batches: Batches = {}
        now = time.monotonic()
        for _ in range(min(len(self.due), WRITES_A_TURN)):
            self.due.popleft().hand_out(batches, now)
        self.is_handing_out = False
        if self.due:
            self.hand_out_soon()

    def hand_out_soon(self) -> None:
        """Go on in the event loop's next turn: there others have theirs."""
        self.is_handing_out = True
        asyncio.get_running_loop().call_soon(self.hand_out)

    def skip_to(self, head: EventId) -> None:
        """Move on over events that have been pruned: each reader finds out by itself."""
        self.history.jump(head)
        for subscription in self.subscriptions.values():
            subscription.fall_behind()
            subscription.wake()

    def begin_new_life(self, reason: str, head: EventId) -> None:
        """Reset every reader: the log is another one, and begins at this head."""
        self.history.jump(head)
        self.tallies.clear()
        for subscription in self.subscriptions.values():
            subscription.lose(reason, head)

    async def keep_beating(self) -> None:
        """Send heartbeats where they are due, and end what has lived long enough."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for subscription in list(self.subscriptions.values()):
                subscription.beat(now)

    # --- the end -----------------------------------------------------------------------

    def return_seconds(self) -> float:
        """Return how long one of this process's readers is to stay away if all are ended."""
        return return_seconds(len(self.subscriptions))

    def dismiss(self, subscription: Subscription) -> None:
        """End a subscription because the process stops."""
        subscription.end(CloseCode.SHUTDOWN, "shutdown", self.return_seconds())

    async def drain(self) -> None:
        """Send ``bye`` to every reader, and wait a little until they have gone."""
        self.is_draining = True
        for subscription in list(self.subscriptions.values()):
            self.dismiss(subscription)
        if self.subscriptions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.drained.wait(), DRAIN_SECONDS)

    def end(
        self,
        subscriptions: Sequence[Subscription],
        code: CloseCode,
        reason: str,
        retry_seconds: float | None,
    ) -> None:
        """End subscriptions: a batch of them now, the others soon.

        Their clients come back after ``retry_seconds``; one by one for None.
        """
        count = len(subscriptions)

        def end_batch(start: int) -> None:
            for subscription in subscriptions[start : start + BATCH_CONNECTIONS]:
                wait = return_seconds(count) if retry_seconds is None else retry_seconds
                subscription.end(code, reason, wait)

        async def end_others() -> None:
            for start in range(BATCH_CONNECTIONS, count, BATCH_CONNECTIONS):
                await asyncio.sleep(0)
                end_batch(start)

        end_batch(0)
        if count > BATCH_CONNECTIONS:
            task = asyncio.create_task(end_others(), name="feed endings")
            self.endings.add(task)
            task.add_done_callback(self.endings.discard)


def index_keys(interest: Interest) -> list[str]:
    """Return the keys of an interest's subscription in the index of patterns."""
    is_signed_in = interest.reader.user_id is not None or interest.reader.is_staff
    keys = list(interest.patterns)
    return [*keys, SIGNED_IN] if "*" in keys and is_signed_in else keys
