"""Carries the feed over Server-Sent Events (WHATWG HTML 9.2); knows no log and no Redis."""

import random
from collections.abc import AsyncIterator

from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.views.decorators.http import require_GET

from echo.answers import error
from echo.feed import Connection, Subscription, subscribe
from echo.protocol import FeedError, FeedQuery

# What an EventSource waits before it reconnects, when it has been told nothing else.
RETRY_MILLISECONDS = (500, 2000)


@require_GET
async def sse(request: HttpRequest) -> HttpResponseBase:
    """An event stream that begins after ``Last-Event-ID`` or ``since``."""
    try:
        subscription = await open_subscription(request)
    except FeedError as refusal:
        return error(refusal.status, str(refusal))
    stream = carry(subscription)
    await anext(stream)  # a client may go before the response begins: see `carry`
    response = StreamingHttpResponse(stream, content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


async def open_subscription(request: HttpRequest) -> Subscription:
    query = FeedQuery.parse(
        request.META["QUERY_STRING"], resume_from=request.headers.get("Last-Event-ID")
    )
    subscription = await subscribe(
        query,
        await request.auser(),
        Connection.of(request, "sse"),
        settings.FEED_SSE_HEARTBEAT_SECONDS,
    )
    subscription.expire_in(settings.FEED_SSE_LIFETIME_SECONDS * random.uniform(0.8, 1))
    return subscription


async def carry(subscription: Subscription) -> AsyncIterator[bytes]:
    """The stream's bytes, until the client has gone or has been told to go.

    Nothing comes first: only a generator that has begun is closed by its event loop when
    it is dropped unread, and leaves the relay.
    """
    try:
        yield b""
        yield b"retry: %d\n\n" % random.randint(*RETRY_MILLISECONDS)
        yield (await subscription.hello()).sse
        while not subscription.is_over:
            yield b"".join([frame.sse for frame in await subscription.next()])
    finally:
        subscription.close()
