"""Publishes over HTTP: ``POST /feed/publish``, by a signed-in user or a bearer token."""

import json
import time
from collections import OrderedDict
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware

from echo import feed
from echo.http import HttpConsumer
from echo.models import Event
from echo.protocol import (
    MAX_PUBLISHED_AT_ONCE,
    FeedError,
    NotAllowed,
    TooLarge,
    TooMany,
    Unauthorized,
)

REMEMBERED_PUBLISHERS = 10_000


class Rate:
    """A token bucket for each publisher, of this process.

    For the event loop only: ``spend`` reads and writes without a lock.
    """

    def __init__(self) -> None:
        # By publisher: the tokens left, and when that was. The latest used is the last.
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, publisher: str, count: int) -> None:
        """Take tokens from the publisher's bucket. Raises TooMany if it has too few."""
        size = float(settings.FEED_PUBLISHES_PER_SECOND)
        now = time.monotonic()
        left, at = self.buckets.pop(publisher, (size, now))
        left = min(size, left + (now - at) * size)
        if count > left and left < size:
            self.buckets[publisher] = left, now
            raise TooMany(
                f"expected at most {size:g} events a second from one publisher: "
                "send this again a second later"
            )
        # A full bucket allows a batch larger than itself, and goes below zero.
        self.buckets[publisher] = left - count, now
        if len(self.buckets) > REMEMBERED_PUBLISHERS:
            self.buckets.popitem(last=False)


rate = Rate()


class PublishConsumer(HttpConsumer):
    """One publish: 201 with the ids of the events, or a refusal with the reason."""

    method = "POST"

    async def handle(self) -> None:
        publisher = await self.identify()
        body = await self.read_body(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        events, is_list = parse(body)
        for event in events:
            publisher.check_topic(event.get("topic"))
        rate.spend(publisher.id, len(events))
        done = await feed.apublish_many(
            events, source=Event.Source.HTTP, author=publisher.name
        )
        receipts = [{"id": one.id, "duplicate": one.duplicate} for one in done]
        await self.answer_json(201, {"events": receipts} if is_list else receipts[0])

    async def identify(self) -> feed.Publisher:
        """Return the publisher whose token or session the request carries."""
        authorization = self.request.headers.get("Authorization", "")
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return await feed.find_publisher(token=credentials.strip())
        reader = await feed.find_reader(self.scope["headers"])
        if reader.user_id is None:
            raise Unauthorized(
                "expected a bearer token, or a session of a signed-in user"
            )
        refuse_forgery(self.request)
        return await feed.find_publisher(user_id=reader.user_id)


def refuse_forgery(request: HttpRequest) -> None:
    """Raise NotAllowed for a request that fails Django's own CSRF check."""
    request.POST = QueryDict()  # the body is JSON: the token comes in a header
    csrf = CsrfViewMiddleware(lambda request: HttpResponse())
    csrf.process_request(request)
    if csrf.process_view(request, HttpResponse, (), {}):
        raise NotAllowed("expected a CSRF token in the header X-CSRFToken")


def parse(body: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the events in a body, and whether they were a list. Raises FeedError."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise FeedError(
            'expected JSON such as {"topic": "news", "data": "hello"}'
        ) from None
    events = given if isinstance(given, list) else [given]
    if len(events) > MAX_PUBLISHED_AT_ONCE:
        raise TooLarge(
            f"expected at most {MAX_PUBLISHED_AT_ONCE} events, got {len(events)}"
        )
    if not events or not all(isinstance(event, dict) for event in events):
        raise FeedError(
            'expected {"topic", "data", "key"} or a list of 1 to 100 of them'
        )
    for event in events:
        if "data" not in event or set(event) - {"topic", "data", "key"}:
            raise FeedError('expected {"topic", "data"} and maybe "key" in each event')
    return events, isinstance(given, list)
