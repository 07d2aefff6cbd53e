"""Carries the feed over Server-Sent Events (WHATWG HTML 9.2); knows no log, no Redis."""

import random

from django.conf import settings

from echo.feed import (
    Connection,
    Subscription,
    count_deliveries,
    find_reader,
    sse_chunk,
    subscribe,
)
from echo.http import HttpConsumer
from echo.protocol import FeedQuery

# The range of an EventSource's wait before it reconnects, unless a `bye` sets another.
RETRY_MILLISECONDS = (500, 2000)
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would buffer events
]


class SseConsumer(HttpConsumer):
    """An event stream that begins after ``Last-Event-ID`` or ``since``."""

    async def handle(self) -> None:
        subscription = await self.open_subscription()
        try:
            await self.unless_disconnected(self.write(subscription))
        finally:
            subscription.close()

    async def open_subscription(self) -> Subscription:
        query = FeedQuery.parse(
            self.scope["query_string"].decode("latin-1"),
            resume_from=self.request.headers.get("Last-Event-ID"),
        )
        subscription = await subscribe(
            query,
            await find_reader(self.scope["headers"]),
            Connection.of(self.scope, "sse"),
            settings.FEED_SSE_HEARTBEAT_SECONDS,
        )
        lifetime = settings.FEED_SSE_LIFETIME_SECONDS * random.uniform(0.8, 1)
        subscription.expire_in(lifetime)
        return subscription

    async def write(self, subscription: Subscription) -> None:
        """Send all frames that are due as one chunk, until the subscription is over."""
        hello = (await subscription.hello()).sse
        await self.begin(200, HEADERS)
        retry = b"retry: %d\n\n" % random.randint(*RETRY_MILLISECONDS)
        await self.send_body(retry + hello, more_body=True)
        subscription.encode = sse_chunk
        while not subscription.is_over:
            chunk = sse_chunk(await subscription.next())
            count_deliveries(chunk.counted)
            await self.send_body(chunk.data, more_body=True)
        await self.send_body(b"")
