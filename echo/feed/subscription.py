"""One reader of the feed: its position, its queue, and its way from the past to live.

Takes a history and a callback for its end; imports no hub. Hand-over, in three visible
steps: ``register`` (live events are queued from here on), ``replay`` (pages of the log up to
the head of that moment), and live, without a gap or a double. A reader too slow for its
queue goes the same way again, at its own pace.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import accumulate, takewhile

from django.db import DatabaseError

from echo.feed import log, metrics
from echo.feed.access import Interest
from echo.feed.connection import Connection
from echo.feed.event import (
    MAX_CHUNK_BYTES,
    Batch,
    Chunk,
    Encode,
    Event,
    Frame,
    Notice,
    count_deliveries,
    reset,
)
from echo.feed.history import History
from echo.feed.replay import Expired
from echo.protocol import CloseCode, EventId

logger = logging.getLogger("echo.feed")

MAX_QUEUED_EVENTS = 1000
MAX_QUEUED_BYTES = 1024 * 1024
# How long a client may take to read ``bye`` and to be gone; then it is cut.
BYE_SECONDS = 5.0
# How long events are held back while the reader's rights are checked; then it must
# reconnect.
MAX_HELD_SECONDS = 5.0


# By their events: readers who are due the same share one.
Batches = dict[tuple[Event, ...], Batch]


class State(Enum):
    """Where a subscription's next events come from."""

    BEHIND = "behind"  # from the log; live events are not kept for it
    REPLAYING = "replaying"  # from the log up to a fixed head; live events wait
    LIVE = "live"  # from its queue


class Subscription:
    """Hands frames to one transport, in order, and keeps its memory bounded."""

    def __init__(
        self,
        history: History,
        interest: Interest,
        connection: Connection,
        heartbeat_seconds: float,
        *,
        node_name: str,
        on_close: Callable[["Subscription"], None],
        return_seconds: Callable[[], float],
    ) -> None:
        # Where missed events come from.
        self.history = history
        # What it may be given; narrowed when rights are lost.
        self.interest = interest
        # Whose it is.
        self.connection = connection
        # After so long without a frame a heartbeat is due.
        self.heartbeat_seconds = heartbeat_seconds
        # The name of the node, for the hello.
        self.node_name = node_name
        # Called when the transport has closed it.
        self.on_close = on_close
        # Returns when its client is to come back, if all of this node's are ended.
        self.return_seconds = return_seconds
        # Where the next events come from.
        self.state = State.BEHIND
        # The id up to which the transport has been given everything.
        self.position = history.head
        # The number up to which the log is being replayed.
        self.target = 0
        # Live events that the transport has not taken yet. A list, as most queues are
        # empty: an empty deque has 600 bytes.
        self.queue: list[Event] = []
        # The sum of their sizes.
        self.queued_bytes = 0
        # Makes what `write` writes; None while the transport itself takes all frames.
        self.encode: Encode | None = None
        # Frames that go out before any event.
        self.notices: list[Notice] = []
        # Resolved when something is due; None unless the transport waits.
        self.arrival: asyncio.Future[None] | None = None
        # When the transport was last given something, by the monotonic clock.
        self.active_at = time.monotonic()
        # The last frame, once it has been decided on.
        self.bye: Notice | None = None
        # When it is ended, and when it is cut after that; None for no limit.
        self.expires_at: float | None = None
        # Since when its reader waits to be judged; None when it does not.
        self.held_at: float | None = None
        # True once what was handed out earlier may be more than the reader may have.
        self.rights_changed = False
        # True when it goes on where its client had been before.
        self.resumed = False

    def begin(self, cursor: EventId, notice: Notice | None) -> None:
        """Set where the reader begins, and what it must be sent before anything else."""
        self.position = cursor
        if cursor == self.history.head:
            self.state = State.LIVE
        if notice is not None:
            metrics.resets.labels(notice.fields["reason"]).inc()
            self.notices.append(notice)

    # --- what the hub calls ------------------------------------------------------------

    def offer(self, batch: Batch, now: float, *, at_once: bool) -> bool:
        """Write live events if that may be done at once, or queue them.

        Return True if `hand_out` is to follow. While the log is to be read first they are
        found there.
        """
        if at_once and not self.queue and self.write(batch, now):
            return False
        if self.state is State.BEHIND:
            return False
        was_empty = not self.queue
        self.queue.extend(batch.events)
        self.queued_bytes += batch.size
        if len(self.queue) > MAX_QUEUED_EVENTS or self.queued_bytes > MAX_QUEUED_BYTES:
            metrics.slow_readers.inc()
            self.fall_behind()
            self.wake()
            return False
        # A transport that does not wait looks again by itself.
        is_due = was_empty and self.arrival is not None
        if is_due and at_once:
            self.wake()
        return is_due and not at_once

    def hand_out(self, batches: Batches, now: float) -> None:
        """Write what is queued, or leave it to the transport.

        ``batches`` has what other readers have just been written.
        """
        if self.arrival is None or not self.queue:
            return
        events = tuple(self.queue)
        batch = batches.get(events)
        if batch is None:
            batch = batches[events] = Batch(events)
        if self.write(batch, now):
            self.clear()
        else:
            self.wake()

    def write(self, batch: Batch, now: float) -> bool:
        """Write events straight to the client, and return True.

        Return False, with nothing written, if something else is due first, if there is no
        room, and unless the transport waits: nothing may overtake what it is sending, and
        one that has been woken may have frames that waited in ``may_send``.
        """
        arrival = self.arrival
        if (
            arrival is None
            or self.encode is None
            or self.state is not State.LIVE
            or self.notices
            or self.held_at is not None
            or batch.size > MAX_CHUNK_BYTES
            or arrival.done()
        ):
            return False
        chunk = batch.chunk(self.encode)
        try:
            is_written = self.write_chunk(chunk)
        except Exception:
            # It resumes; the others must not wait for it.
            logger.exception("a reader cannot be written to")
            self.connection.cut()
            return False
        if is_written:
            self.position = batch.last_id
            self.active_at = now
        return is_written

    def write_chunk(self, chunk: Chunk) -> bool:
        """Write and count a chunk; return False, with nothing written, if it must be sent."""
        if not self.connection.write(chunk.data):
            return False
        if chunk.counted:
            count_deliveries(chunk.counted)
        return True

    def fall_behind(self) -> None:
        """Drop the queue: the reader is served from the log instead, at its own pace."""
        self.clear()
        self.state = State.BEHIND

    def lose(self, reason: str, head: EventId) -> None:
        """Announce that what lay before ``head`` cannot be had any more."""
        self.clear()
        self.notify(reset(reason, self.position, head))
        metrics.resets.labels(reason).inc()
        self.position = head
        self.state = State.LIVE

    def beat(self, now: float) -> None:
        """Send a heartbeat if it is due; end the subscription if its time is over."""
        if self.expires_at is not None and now >= self.expires_at:
            self.expire()
        if self.held_at is not None and now - self.held_at >= MAX_HELD_SECONDS:
            self.end(CloseCode.ASKED_TO_RECONNECT, "rights cannot be judged now", 1.0)
        # Only when idle: the cursor it carries must not overtake what waits to be read.
        waits = self.arrival is not None and self.is_idle
        if waits and now - self.active_at >= self.heartbeat_seconds:
            self.notify(Notice("heartbeat", self.history.head))

    def end(self, code: CloseCode, reason: str, retry_seconds: float = 0.0) -> None:
        """Send ``bye``: the last frame, after which the transport closes with the code.

        A client that does not read it is cut a while later.
        """
        if self.bye is None:
            retry_ms = round(retry_seconds * 1000)
            self.bye = Notice("bye", code=int(code), reason=reason, retry_ms=retry_ms)
            self.notify(self.bye)
            self.expire_in(BYE_SECONDS)

    def expire(self) -> None:
        """End a subscription that is old; cut one that was ended and is still there."""
        if self.bye is None:
            self.end(CloseCode.ASKED_TO_RECONNECT, "lifetime is over")
        else:
            self.connection.cut()

    def hold(self) -> None:
        """Hand out no more events until ``release``: the reader is to be judged."""
        self.rights_changed = True
        if self.held_at is None:
            self.held_at = time.monotonic()

    def release(self) -> None:
        """Go on after ``hold``; no-op if not held."""
        if self.held_at is not None:
            self.held_at = None
            self.wake()

    def narrow(self, interest: Interest) -> None:
        """Go on with an interest that allows less; drop from the queue what it does not."""
        self.rights_changed = True
        self.interest = interest
        kept = [event for event in self.queue if interest.matches(event.topic)]
        self.clear()
        self.queue.extend(kept)
        self.queued_bytes = sum(event.size for event in kept)

    # --- what the transport calls ------------------------------------------------------

    async def next(self) -> Sequence[Frame]:
        """Wait until frames are due, and return them."""
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
            code = CloseCode.ASKED_TO_RECONNECT
            self.end(code, "the log cannot be read now", self.return_seconds())
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
        """Return False for a frame, handed out earlier, that the reader may no longer have."""
        while self.is_held and self.bye is None:
            await self.wait()
        if not isinstance(frame, Event):
            return True
        # After a bye nothing: the client resumes after the last event that it was sent.
        return self.bye is None and self.interest.matches(frame.topic)

    async def due(self) -> Sequence[Frame]:
        """Return the frames that are due now: notices, else a page of the log, else the queue."""
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
        """Return True while the reader is being judged."""
        return self.held_at is not None

    @property
    def is_idle(self) -> bool:
        """Return True when all that there is has been handed out."""
        return self.state is State.LIVE and not self.queue and not self.notices

    @property
    def is_over(self) -> bool:
        """Return True when ``bye`` has been handed out; the client can resume the rest."""
        return self.bye is not None and not self.notices

    async def wait(self) -> None:
        """Wait until something may be due."""
        self.arrival = asyncio.get_running_loop().create_future()
        try:
            await self.arrival
        finally:
            self.arrival = None

    def close(self) -> None:
        """End it on the transport's side; what is queued is dropped."""
        self.clear()
        self.on_close(self)

    @property
    def cursor(self) -> EventId:
        """Return the id from which this reader can resume without missing anything."""
        return self.history.head if self.is_idle else self.position

    # --- from past to live -------------------------------------------------------------

    async def replay(self) -> Sequence[Event]:
        """Return one page of the past; go live once it has reached the head it aimed at."""
        if self.state is State.BEHIND:
            self.register()
        position = self.position
        try:
            page = await self.history.page(
                self.interest, position.number, self.target, self.connection.address
            )
        except Expired:
            if self.position is position:
                self.lose("expired", self.history.head)
            return ()
        if self.position is not position:
            return ()  # lost meanwhile: the page belongs to the past
        self.position = EventId(position.epoch, page.reached)
        if self.state is State.REPLAYING and page.reached >= self.target:
            self.state = State.LIVE
        return page.events

    def register(self) -> None:
        """Queue live events from here on; replay the log up to this head."""
        self.target = self.history.head.number
        self.state = State.REPLAYING

    def take_queue(self) -> Sequence[Event]:
        """Return what is queued, a page of it at most: a writer may hold it for long."""
        if not self.queue:
            return ()
        if self.queued_bytes <= log.PAGE_BYTES:
            events: Sequence[Event] = tuple(self.queue)
            self.clear()
        else:
            events = self.take_page()
        self.position = events[-1].id
        return events

    def take_page(self) -> Sequence[Event]:
        """Take the first events off the queue: as many as a page has, at least one."""
        sizes = accumulate(event.size for event in self.queue)
        fitting = sum(1 for _ in takewhile(lambda size: size <= log.PAGE_BYTES, sizes))
        page = self.queue[: max(fitting, 1)]
        del self.queue[: len(page)]
        self.queued_bytes -= sum(event.size for event in page)
        return page

    # --- small -------------------------------------------------------------------------

    def notify(self, notice: Notice) -> None:
        """Have a notice sent before any event."""
        self.notices.append(notice)
        self.wake()

    def wake(self) -> None:
        """Have a waiting transport look for what is due."""
        if self.arrival is not None and not self.arrival.done():
            self.arrival.set_result(None)

    def clear(self) -> None:
        """Drop the queue."""
        self.queue.clear()
        self.queued_bytes = 0

    async def hello(self) -> Notice:
        """Return the first frame: the node, and where this stream begins.

        Before a ``reset`` it names no cursor: a client that is cut off in between resumes
        from where it was, and is reset then.
        """
        oldest = await self.history.oldest(self.interest)
        return Notice(
            "hello",
            None if self.notices else self.position,
            connection=self.connection.id,
            node=self.node_name,
            oldest=str(oldest),
            resumed=self.resumed,
            heartbeat_seconds=self.heartbeat_seconds,
        )

    def expire_in(self, seconds: float) -> None:
        """End the subscription after so long, so that its client resumes it elsewhere.

        One that has been ended is cut then.
        """
        self.expires_at = time.monotonic() + seconds
