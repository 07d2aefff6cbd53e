"""``POST /feed/publish``: publishing over HTTP, by a signed-in user or a bearer token."""

import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from echo import feed
from echo.answers import Json, error
from echo.models import Event, Token
from echo.protocol import (
    MAX_PUBLISHED_AT_ONCE,
    FeedError,
    NotAllowed,
    TooLarge,
    TooMany,
    matches,
)

REMEMBERED_PUBLISHERS = 10_000


class Unauthorized(FeedError):
    """Nobody that is known here."""

    status = 401


class Rate:
    """A bucket of publishes for each publisher, refilled each second."""

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


@csrf_exempt  # checked below for those who are known by a cookie
@require_POST
def publish(request: HttpRequest) -> HttpResponse:
    """201 with the ids of the events; 400, 401, 403, 413 or 429 with the reason."""
    try:
        publisher = identify(request)
        events, is_list = parse(request)
        for event in events:
            publisher.refuse_topic(event.get("topic"))
        rate.spend(publisher.id, len(events))
        done = feed.publish_many(
            events, source=Event.Source.HTTP, author=publisher.name
        )
    except FeedError as refusal:
        response = error(refusal.status, str(refusal))
        if refusal.status == 401:
            response["WWW-Authenticate"] = "Bearer"
        if refusal.status == 429:
            response["Retry-After"] = "1"
        return response
    receipts = [{"id": one.id, "duplicate": one.duplicate} for one in done]
    return Json({"events": receipts} if is_list else receipts[0], status=201)


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


def identify(request: HttpRequest) -> Publisher:
    """The publisher whose token or session the request carries."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        token = find_token(credentials.strip())
        return Publisher(
            f"token {token.pk}", f"token {token.name}", token.topics.split()
        )
    user = request.user
    if not user.is_authenticated:
        raise Unauthorized("expected a bearer token, or a session of a signed-in user")
    csrf = CsrfViewMiddleware(lambda _: HttpResponse())
    if csrf.process_view(request, HttpResponse, (), {}):
        raise NotAllowed("expected a CSRF token in the header X-CSRFToken")
    if not user.has_perm("echo.add_event"):
        raise NotAllowed(f"{user.get_username()} lacks the permission to add events")
    return Publisher(f"user {user.pk}", user.get_username(), ["*"])


def find_token(credentials: str) -> Token:
    """The token whose ``<id>.<secret>`` this is; its use is remembered."""
    identity, _, secret = credentials.partition(".")
    is_number = identity.isdecimal() and len(identity) < 20
    token = Token.objects.filter(pk=identity).first() if is_number else None
    if token is None or not token.accepts(secret):
        raise Unauthorized(
            "expected a valid bearer token, <id>.<secret> as the admin showed it"
        )
    token.used(timezone.now())
    return token


def parse(request: HttpRequest) -> tuple[list[dict[str, Any]], bool]:
    """The events of a body, and whether they came as a list."""
    try:
        body = json.loads(request.body)
    except RequestDataTooBig:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raise TooLarge(f"expected a body of at most {limit} bytes") from None
    except (ValueError, RecursionError, RawPostDataException):  # the last: a form
        raise FeedError(
            'expected JSON such as {"topic": "news", "data": "hello"}'
        ) from None
    events = body if isinstance(body, list) else [body]
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
    return events, isinstance(body, list)
