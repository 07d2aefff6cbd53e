"""One reader of the feed: where it is, what waits for it, and how it gets from past to live.

Hand-over, in three visible steps: ``register`` (live events are buffered from here on),
``replay`` (pages of the log up to the head of that moment), and live, without a gap or a
double. A reader too slow for its queue goes the same way again, at its own pace.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from django.db import DatabaseError

from echo.feed import log, metrics
from echo.feed.access import Interest
from echo.feed.event import Event, Frame, Notice, reset
from echo.feed.farewell import return_seconds
from echo.feed.history import Expired
from echo.protocol import CUT_EXTENSION, CloseCode, EventId

if TYPE_CHECKING:
    from echo.feed.relay import Relay

logger = logging.getLogger("echo.feed")

MAX_QUEUED_EVENTS = 1000
MAX_QUEUED_BYTES = 1024 * 1024
# How long a client may take to read ``bye`` and to be gone; then it is cut.
BYE_SECONDS = 5.0
# How long a reader may wait to be judged; then it is told to come back and is judged then.
MAX_HELD_SECONDS = 5.0
# What a client says of itself is listed up to so many characters.
MAX_USER_AGENT_LENGTH = 300


class State(Enum):
    """Where a subscription's next events come from."""

    BEHIND = "behind"  # from the log; live events are not kept for it
    REPLAYING = "replaying"  # from the log up to a fixed head; live events wait
    LIVE = "live"  # from its queue


def do_nothing() -> None:
    """The means of a server that cannot cut a connection."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Who holds a subscription, for the census; and what cuts it."""

    transport: str
    address: str = ""
    user_agent: str = ""
    cut: Callable[[], None] = do_nothing
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    since: float = field(default_factory=time.time)

    @classmethod
    def of(cls, scope: Mapping[str, Any], transport: str) -> Self:
        """Return the connection of an ASGI scope, HTTP or WebSocket."""
        client = scope.get("client")
        agent = dict(scope["headers"]).get(b"user-agent", b"")
        return cls(
            transport=transport,
            address=client[0] if client else "",
            user_agent=agent.decode("latin-1"),
            cut=scope.get("extensions", {}).get(CUT_EXTENSION, do_nothing),
        )


class Subscription:
    """Hands frames to one transport, in order, and keeps its memory bounded.

    ``position`` is the id up to which the transport has been given everything.
    """

    def __init__(
        self,
        relay: "Relay",
        interest: Interest,
        connection: Connection,
        heartbeat_seconds: float,
    ) -> None:
        self.relay = relay
        self.interest = interest
        self.connection = connection
        self.heartbeat_seconds = heartbeat_seconds
        self.state = State.BEHIND
        self.position = relay.head
        self.target = 0
        self.queue: deque[Event] = deque()
        self.queued_bytes = 0
        self.notices: deque[Notice] = deque()
        self.arrival: asyncio.Future[None] | None = None
        self.active_at = time.monotonic()
        self.bye: Notice | None = None
        self.expires_at: float | None = None
        # Since when its reader waits to be judged; None when it does not.
        self.held_at: float | None = None
        # True once what was handed out earlier may be more than the reader may have.
        self.rights_changed = False
        self.resumed = False

    # --- what the relay calls ----------------------------------------------------------

    def offer(self, event: Event) -> None:
        """Queues a live event; one that comes while the log is being read is there too."""
        if self.state is State.BEHIND:
            return
        self.queue.append(event)
        self.queued_bytes += event.size
        if len(self.queue) > MAX_QUEUED_EVENTS or self.queued_bytes > MAX_QUEUED_BYTES:
            metrics.slow_readers.inc()
            self.fall_behind()
        if self.arrival is not None:
            self.wake()

    def fall_behind(self) -> None:
        """Drops the queue: the reader is served from the log instead, at its own pace."""
        self.clear()
        self.state = State.BEHIND

    def lose(self, reason: str, head: EventId) -> None:
        """Announces that what lay before ``head`` cannot be had any more."""
        self.clear()
        self.notify(reset(reason, self.position, head))
        metrics.resets.labels(reason).inc()
        self.position = head
        self.state = State.LIVE

    def beat(self, now: float) -> None:
        """A heartbeat, for a transport that has waited long; the end of one that is old."""
        if self.expires_at is not None and now >= self.expires_at:
            self.expire()
        if self.held_at is not None and now - self.held_at >= MAX_HELD_SECONDS:
            self.end(CloseCode.ASKED_TO_RECONNECT, "rights cannot be judged now", 1.0)
        # Only when idle: the cursor it carries must not overtake what waits to be read.
        waits = self.arrival is not None and self.is_idle
        if waits and now - self.active_at >= self.heartbeat_seconds:
            self.notify(Notice("heartbeat", self.relay.head))

    def end(self, code: CloseCode, reason: str, retry_seconds: float = 0.0) -> None:
        """Says ``bye``: the last frame, after which the transport closes with the code.

        A client that does not read keeps the transport from it, and is cut a while later.
        """
        if self.bye is None:
            retry_ms = round(retry_seconds * 1000)
            self.bye = Notice("bye", code=int(code), reason=reason, retry_ms=retry_ms)
            self.notify(self.bye)
            self.expire_in(BYE_SECONDS)

    def expire(self) -> None:
        """Ends a subscription that is old, and cuts one that has not gone when told to."""
        if self.bye is None:
            self.end(CloseCode.ASKED_TO_RECONNECT, "lifetime is over")
        else:
            self.connection.cut()

    def hold(self) -> None:
        """Hands out no more events until the reader has been judged."""
        self.rights_changed = True
        if self.held_at is None:
            self.held_at = time.monotonic()

    def release(self) -> None:
        """Goes on after ``hold``; no-op for one that is not held."""
        if self.held_at is not None:
            self.held_at = None
            self.wake()

    def narrow(self, interest: Interest) -> None:
        """Goes on with an interest that allows less, and drops what it does not from the queue."""
        self.rights_changed = True
        self.interest = interest
        kept = [event for event in self.queue if interest.matches(event.topic)]
        self.clear()
        self.queue.extend(kept)
        self.queued_bytes = sum(event.size for event in kept)

    # --- what the transport calls ------------------------------------------------------

    async def next(self) -> Sequence[Frame]:
        """The frames that are due, at least one; waits for them."""
        while not (frames := await self.due_or_bye()):
            if self.is_idle or self.is_held:
                await self.wait()
        self.active_at = time.monotonic()
        return frames

    async def due_or_bye(self) -> Sequence[Frame]:
        """Return the frames that are due; end a stream whose history cannot be read now."""
        try:
            return await self.due()
        except DatabaseError as error:
            logger.warning("a reader's history cannot be read: %s", error)
            retry_seconds = return_seconds(len(self.relay.subscriptions))
            code = CloseCode.ASKED_TO_RECONNECT
            self.end(code, "the log cannot be read now", retry_seconds)
            return ()

    async def ready(self) -> Sequence[Frame]:
        """Return the frames that can be had without waiting; none only if there are none.

        Raises a DatabaseError when the log cannot be read.
        """
        while not (frames := await self.due()) and not self.is_idle:
            if self.is_held:
                await self.wait()
        return frames

    async def may_send(self, frame: Frame) -> bool:
        """False for a frame, handed out earlier, that the reader may no longer have."""
        while self.is_held and self.bye is None:
            await self.wait()
        if not isinstance(frame, Event):
            return True
        # After a bye nothing: the client resumes after the last event that it was sent.
        return self.bye is None and self.interest.matches(frame.topic)

    async def due(self) -> Sequence[Frame]:
        """The frames that are due now: notices, else a page of the log, else the queue."""
        if self.notices:
            notices = tuple(self.notices)
            self.notices.clear()
            return notices
        if self.is_held:
            return ()
        if self.state is State.LIVE:
            return self.take_queue()
        before, interest = self.position, self.interest
        events = await self.replay()
        if events and (self.is_held or self.interest is not interest):
            # Read with rights that may be gone: read again with those that are left.
            self.fall_behind()
            self.position = before
            return ()
        return events

    @property
    def is_held(self) -> bool:
        """True while the reader is being judged."""
        return self.held_at is not None

    @property
    def is_idle(self) -> bool:
        """True when all that there is has been handed out."""
        return self.state is State.LIVE and not self.queue and not self.notices

    @property
    def is_over(self) -> bool:
        """True when ``bye`` has been handed out; what was to come can be resumed."""
        return self.bye is not None and not self.notices

    async def wait(self) -> None:
        """Sleeps until the relay has something."""
        self.arrival = asyncio.get_running_loop().create_future()
        try:
            await self.arrival
        finally:
            self.arrival = None

    def close(self) -> None:
        """Leaves the relay; what is queued is forgotten."""
        self.clear()
        self.relay.unsubscribe(self)

    @property
    def cursor(self) -> EventId:
        """The id from which this reader can resume without missing anything."""
        return self.relay.head if self.is_idle else self.position

    # --- from past to live -------------------------------------------------------------

    async def replay(self) -> Sequence[Event]:
        """One page of the log; live once the page has reached the head it aimed at."""
        if self.state is State.BEHIND:
            self.register()
        position = self.position
        try:
            page = await self.relay.page(
                self.interest, position.number, self.target, self.connection.address
            )
        except Expired:
            if self.position is position:
                self.lose("expired", self.relay.head)
            return ()
        if self.position is not position:
            return ()  # lost meanwhile: the page belongs to the past
        self.position = EventId(position.epoch, page.reached)
        if self.state is State.REPLAYING and page.reached >= self.target:
            self.state = State.LIVE
        return page.events

    def register(self) -> None:
        """From here on live events are buffered; the log is read up to this head."""
        self.target = self.relay.head.number
        self.state = State.REPLAYING

    def take_queue(self) -> Sequence[Event]:
        """Return what is queued, a page of it at most: a writer may hold it for long."""
        if not self.queue:
            return ()
        if self.queued_bytes <= log.PAGE_BYTES:
            events = tuple(self.queue)
            self.clear()
        else:
            events = tuple(self.take_page())
        self.position = events[-1].id
        return events

    def take_page(self) -> Iterator[Event]:
        """Yield the first events of the queue, at least one, and take them off it."""
        size = 0
        while self.queue:
            size += self.queue[0].size
            if size > log.PAGE_BYTES and size > self.queue[0].size:
                return
            event = self.queue.popleft()
            self.queued_bytes -= event.size
            yield event

    # --- small -------------------------------------------------------------------------

    def notify(self, notice: Notice) -> None:
        self.notices.append(notice)
        self.wake()

    def wake(self) -> None:
        if self.arrival is not None and not self.arrival.done():
            self.arrival.set_result(None)

    def clear(self) -> None:
        self.queue.clear()
        self.queued_bytes = 0

    async def hello(self) -> Notice:
        """The first frame: who speaks, and where this stream begins.

        Before a ``reset`` it names no cursor: a client cut off in between asks again
        from where it was, and is told.
        """
        oldest = await self.relay.oldest(self.interest)
        return Notice(
            "hello",
            None if self.notices else self.position,
            connection=self.connection.id,
            node=self.relay.node,
            oldest=str(oldest),
            resumed=self.resumed,
            heartbeat_seconds=self.heartbeat_seconds,
        )

    def expire_in(self, seconds: float) -> None:
        """Ends the subscription then, so that its client resumes it elsewhere.

        One that has been ended is cut then.
        """
        self.expires_at = time.monotonic() + seconds

    @property
    def words(self) -> str:
        """What an operator may search for."""
        connection, reader = self.connection, self.interest.reader
        return " ".join(
            (
                connection.id,
                connection.address,
                connection.user_agent,
                reader.username,
                *self.interest.patterns,
            )
        )

    def describe(self) -> dict[str, Any]:
        """The connection as the census lists it."""
        reader = self.interest.reader
        return {
            "id": self.connection.id,
            "transport": self.connection.transport,
            "user": reader.username,
            "address": self.connection.address,
            "user_agent": self.connection.user_agent[:MAX_USER_AGENT_LENGTH],
            "topics": list(self.interest.patterns),
            "since": self.connection.since,
            "behind": max(0, self.relay.head.number - self.cursor.number),
            "queued": len(self.queue),
            "state": self.state.value,
        }
