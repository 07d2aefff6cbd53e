"""Carries the feed over polls: long ones wait for an answer, short ones take what there is."""

import asyncio
import contextlib
from collections.abc import Sequence

from echo.feed import Connection, Frame, Notice, Subscription, find_reader, subscribe
from echo.http import JSON, HttpConsumer
from echo.protocol import EVENT_ID, FeedQuery

# An answer is for the reader whose cookie asked for it.
CONTENT = [(b"content-type", JSON), (b"vary", b"Cookie")]


class PollConsumer(HttpConsumer):
    """One answer with what came after ``since``; with ``wait``, a long poll."""

    async def handle(self) -> None:
        # Proxies put W/ before an ETag and -gzip behind it, and may send several.
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
        """Answer at once if there is anything, else when there is, or after the wait."""
        subscription = await self.open_subscription(query, "longpoll")
        try:
            # However long the log takes: the wait is for what is not there yet.
            if not (frames := await subscription.ready()):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_seconds):
                        frames = await self.unless_disconnected(subscription.next())
            body = encode_answer(frames, subscription)
        finally:
            subscription.close()
        await self.answer(200, body, [*CONTENT, (b"cache-control", b"no-store")])

    async def short_poll(self, query: FeedQuery, known: str | None) -> None:
        """Answer with what there is; 304 for the id in ``If-None-Match`` and nothing new."""
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
    """Return ``{"events", "last_event_id", "reset", "more"}``; events are encoded already.

    ``bye`` comes with them when the server has ended the subscription, and only then.
    """
    subscription.sending(*frames)
    events = ",".join([frame.json for frame in frames if frame.type == "event"])
    reset = next((frame for frame in frames if frame.type == "reset"), None)
    # Not looked for among the frames: it may have been said while they were read.
    bye = f',"bye":{subscription.bye.json}' if subscription.bye else ""
    return (
        f'{{"events":[{events}],"last_event_id":"{subscription.cursor}",'
        f'"reset":{reset.json if isinstance(reset, Notice) else "null"},'
        f'"more":{"false" if subscription.is_idle else "true"}{bye}}}'
    ).encode()
