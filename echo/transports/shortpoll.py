"""Carries the feed over short polls: what there is, at once; 304 when there is nothing."""

from django.http import (
    HttpRequest,
    HttpResponseBase,
    HttpResponseNotModified,
)
from django.views.decorators.http import require_GET

from echo.answers import error
from echo.feed import Connection, Subscription, polled, subscribe
from echo.protocol import EVENT_ID, FeedError, FeedQuery


@require_GET
async def shortpoll(request: HttpRequest) -> HttpResponseBase:
    """What came after ``since``, or after the id in ``If-None-Match``, which may get 304."""
    # Proxies put W/ before an ETag and -gzip behind it, and may send several.
    etag = EVENT_ID.search(request.headers.get("If-None-Match", ""))
    known = etag[0] if etag else None
    try:
        query = FeedQuery.parse(request.META["QUERY_STRING"], if_silent=known)
        subscription = await open_subscription(request, query)
    except FeedError as refusal:
        return error(refusal.status, str(refusal))
    try:
        frames = await subscription.ready()
        if known and query.since == known and not frames:
            response: HttpResponseBase = HttpResponseNotModified()
            response["ETag"] = f'"{known}"'
        else:
            response = polled(frames, subscription)
            response["ETag"] = f'"{subscription.cursor}"'
    finally:
        subscription.close()
    response["Cache-Control"] = "no-cache"
    return response


async def open_subscription(request: HttpRequest, query: FeedQuery) -> Subscription:
    return await subscribe(
        query,
        await request.auser(),
        Connection.of(request, "shortpoll"),
        heartbeat_seconds=float("inf"),
    )
