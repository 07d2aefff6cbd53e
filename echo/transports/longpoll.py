"""Carries the feed over long polls: an answer when there is something, or after ``wait``."""

import asyncio
import contextlib
from collections.abc import Sequence

from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.http import require_GET

from echo.answers import error
from echo.feed import Connection, Frame, Subscription, polled, subscribe
from echo.protocol import FeedError, FeedQuery


@require_GET
async def longpoll(request: HttpRequest) -> HttpResponseBase:
    """What came after ``since``, at once if there is any; ``wait`` bounds the patience."""
    try:
        query = FeedQuery.parse(request.META["QUERY_STRING"])
        subscription = await open_subscription(request, query)
    except FeedError as refusal:
        return error(refusal.status, str(refusal))
    try:
        frames = await carry(subscription, query.wait_seconds)
        response = polled(frames, subscription)
    finally:
        subscription.close()
    response["Cache-Control"] = "no-store"
    return response


async def open_subscription(request: HttpRequest, query: FeedQuery) -> Subscription:
    return await subscribe(
        query,
        await request.auser(),
        Connection.of(request, "longpoll"),
        heartbeat_seconds=float("inf"),
    )


async def carry(subscription: Subscription, wait_seconds: float) -> Sequence[Frame]:
    """The frames that are due, or that become due while the client waits."""
    if frames := await subscription.ready():
        return (
            frames  # however long the log takes: patience is for what is not there yet
        )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_seconds):
            return await subscription.next()
    return ()
