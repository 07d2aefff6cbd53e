"""Carries the feed over polls: long ones wait for the next event, short ones do not."""

import asyncio
import contextlib
from collections.abc import Sequence

from echo.feed import (
    Connection,
    Frame,
    Notice,
    Subscription,
    count_deliveries,
    find_reader,
    subscribe,
)
from echo.http import JSON, HttpConsumer
from echo.protocol import EVENT_ID, FeedQuery

# A cache must not give one reader's response to another.
CONTENT = [(b"content-type", JSON), (b"vary", b"Cookie")]


class PollConsumer(HttpConsumer):
    """One response with the events after ``since``; with ``wait``, a long poll."""

    async def handle(self) -> None:
        # Proxies add W/ before an ETag and -gzip after it, and may send several.
        etag = EVENT_ID.search(self.request.headers.get("If-None-Match", ""))
        known = etag[0] if etag else None
        query = FeedQuery.parse(
            self.scope["query_string"].decode("latin-1"), if_silent=known
        )
        if query.wait_seconds is None:
            await self.short_poll(query, known)
        else:
            await self.long_poll(query, query.wait_seconds)

    async def open_subscription(self, query: FeedQuery, transport: str) -> Subscription:
        return await subscribe(
            query,
            await find_reader(self.scope["headers"]),
            Connection.of(self.scope, transport),
            heartbeat_seconds=float("inf"),
        )

    async def long_poll(self, query: FeedQuery, wait_seconds: float) -> None:
        """Respond with what there is, or wait for the first event, ``wait`` at most."""
        subscription = await self.open_subscription(query, "longpoll")
        try:
            # Outside the timeout: `wait` bounds the wait for new events, not the log's reads.
            if not (frames := await subscription.ready()):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_seconds):
                        frames = await self.unless_disconnected(subscription.next())
            body = encode_answer(frames, subscription)
        finally:
            subscription.close()
        await self.answer(200, body, [*CONTENT, (b"cache-control", b"no-store")])

    async def short_poll(self, query: FeedQuery, known: str | None) -> None:
        """Respond with what there is, or 304 if it is nothing new after ``If-None-Match``."""
        subscription = await self.open_subscription(query, "shortpoll")
        try:
            frames = await subscription.ready()
            cursor = str(subscription.cursor)
            body = encode_answer(frames, subscription)
        finally:
            subscription.close()
        is_known = known == query.since and not frames
        etag = (b"etag", f'"{known if is_known else cursor}"'.encode())
        caching = [etag, (b"cache-control", b"no-cache")]
        if is_known:
            await self.begin(304, [(b"vary", b"Cookie"), *caching])
            await self.send_body(b"")
        else:
            await self.answer(200, body, [*CONTENT, *caching])


def encode_answer(frames: Sequence[Frame], subscription: Subscription) -> bytes:
    """Return the body as JSON; the events are encoded already.

    ``bye`` is in it only if the server has ended the subscription.
    """
    count_deliveries(frames)
    events = ",".join([frame.json for frame in frames if frame.type == "event"])
    reset = next((frame for frame in frames if frame.type == "reset"), None)
    # From the subscription, not from the frames: it may have ended while they were read.
    bye = f',"bye":{subscription.bye.json}' if subscription.bye else ""
    return (
        f'{{"events":[{events}],"last_event_id":"{subscription.cursor}",'
        f'"reset":{reset.json if isinstance(reset, Notice) else "null"},'
        f'"more":{"false" if subscription.is_idle else "true"}{bye}}}'
    ).encode()
