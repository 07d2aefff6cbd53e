"""Publishes over HTTP: ``POST /feed/publish``, by a signed-in user or a bearer token."""

import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone

from echo import feed
from echo.http import HttpConsumer
from echo.models import Event, Token
from echo.protocol import (
    MAX_PUBLISHED_AT_ONCE,
    FeedError,
    NotAllowed,
    TooLarge,
    TooMany,
    Unauthorized,
    matches,
)

REMEMBERED_PUBLISHERS = 10_000


class Rate:
    """A bucket of publishes for each publisher, refilled each second; this process's own.

    Used in the event loop only, so that no publish can come between a look and a spend.
    """

    def __init__(self) -> None:
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, publisher: str, count: int) -> None:
        """Takes from the publisher's bucket; TooMany when there is not enough in it."""
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
        # A batch larger than the bucket is let in when the bucket is full, and paid off.
        self.buckets[publisher] = left - count, now
        if len(self.buckets) > REMEMBERED_PUBLISHERS:
            self.buckets.popitem(last=False)


rate = Rate()


@dataclass(frozen=True)
class Publisher:
    """Who publishes, and the patterns of topics they may publish to."""

    id: str  # what their rate goes by: names of tokens may be alike
    name: str
    patterns: list[str]

    def refuse_topic(self, topic: object) -> None:
        if isinstance(topic, str) and not any(matches(p, topic) for p in self.patterns):
            raise NotAllowed(
                f"{self.name} may publish to {' '.join(self.patterns)}, not to {topic}"
            )


class PublishConsumer(HttpConsumer):
    """One publish: 201 with the ids of the events, or a refusal with the reason."""

    method = "POST"

    async def handle(self) -> None:
        publisher = await self.identify()
        body = await self.read_body(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        events, is_list = parse(body)
        for event in events:
            publisher.refuse_topic(event.get("topic"))
        rate.spend(publisher.id, len(events))
        done = await feed.apublish_many(
            events, source=Event.Source.HTTP, author=publisher.name
        )
        receipts = [{"id": one.id, "duplicate": one.duplicate} for one in done]
        await self.answer_json(201, {"events": receipts} if is_list else receipts[0])

    async def identify(self) -> Publisher:
        """Return the publisher whose token or session the request carries."""
        authorization = self.request.headers.get("Authorization", "")
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return await feed.account_threads.run(
                find_token_publisher, credentials.strip()
            )
        reader = await feed.find_reader(self.scope["headers"])
        if reader.user_id is None:
            raise Unauthorized(
                "expected a bearer token, or a session of a signed-in user"
            )
        refuse_forgery(self.request)
        return await feed.account_threads.run(find_user_publisher, reader.user_id)


def refuse_forgery(request: HttpRequest) -> None:
    """Raise NotAllowed for a request that fails Django's own CSRF check."""
    request.POST = QueryDict()  # the body is JSON: the token comes in a header
    csrf = CsrfViewMiddleware(lambda request: HttpResponse())
    csrf.process_request(request)
    if csrf.process_view(request, HttpResponse, (), {}):
        raise NotAllowed("expected a CSRF token in the header X-CSRFToken")


def find_user_publisher(user_id: str) -> Publisher:
    """Return the signed-in user as a publisher. Raises NotAllowed without the permission."""
    user = get_user_model()._default_manager.get(pk=user_id)
    if not user.has_perm("echo.add_event"):
        raise NotAllowed(f"{user.get_username()} lacks the permission to add events")
    return Publisher(f"user {user.pk}", user.get_username(), ["*"])


def find_token_publisher(credentials: str) -> Publisher:
    """Return the publisher whose token is ``<id>.<secret>``; remember the token's use.

    Raises Unauthorized for a token that is not valid, NotAllowed for one whose owner may no
    longer publish.
    """
    identity, _, secret = credentials.partition(".")
    is_number = identity.isdecimal() and len(identity) < 20
    tokens = Token.objects.select_related("owner")
    token = tokens.filter(pk=identity).first() if is_number else None
    if token is None or not token.accepts(secret):
        raise Unauthorized(
            "expected a valid bearer token, <id>.<secret> as the admin showed it"
        )
    if not token.owner_may_publish():
        raise NotAllowed(f"the owner of the token {token.name} may no longer publish")
    token.used(timezone.now())
    name = f"token {token.name}"
    return Publisher(f"token {token.pk}", name, token.topics.split())


def parse(body: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the events of a body, and whether they came as a list."""
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
