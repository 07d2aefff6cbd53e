"""A site with short times and low limits, its users, and streams that close."""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from echo.tests.live import COMMANDS, LiveSite
from echo.tests.transports.adapters import TRANSPORTS, Publisher, Stream, ask

MAX_CONNECTIONS = 12
MAX_CONNECTIONS_PER_ADDRESS = 9
ENVIRONMENT = {
    "FEED_HEARTBEAT_SECONDS": "0.3",
    "FEED_SSE_HEARTBEAT_SECONDS": "0.3",
    "FEED_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
    "FEED_MAX_CONNECTIONS_PER_ADDRESS": str(MAX_CONNECTIONS_PER_ADDRESS),
    "FEED_PUBLISHES_PER_SECOND": "10000",
    "DJANGO_SETTINGS_MODULE": "echo.tests.settings_operator",
}
PREPARE = """
import json
from django.contrib.auth.models import User
from django.test import Client
from echo.feed import publish
from echo.models import Token, Topic
people = {}
for name in ("root", "ada"):
    user = User.objects.create_user(name, is_staff=name == "root")
    client = Client()
    client.force_login(user)
    people[name] = [user.pk, "sessionid=" + client.cookies["sessionid"].value]
token = Token(name="tests", topics="*")
secret = token.renew_secret()
token.save()
first = publish("brief", 0)
Topic.objects.update(retention_events=1)
bearer = f"{token.pk}.{secret}"
print(json.dumps({"people": people, "token": bearer, "first": first.id}))
"""


@dataclass(frozen=True)
class FeedSite:
    """A live site, its users' cookies and a publisher's token.

    ``first`` is the id of the first event of ``brief``, a topic that keeps one event.
    """

    live: LiveSite
    people: dict[str, list[Any]]
    token: str
    first: str

    @property
    def publish(self) -> Publisher:
        return Publisher(self.live, self.token)

    def end(self, topic: str, code: int, reason: str) -> int:
        """End all readers of the topic, as an operator would; return their number."""
        asked = urlencode({"topic": topic, "code": code, "reason": reason})
        return int(ask(self.live, f"/end?{asked}").json()["ended"])

    def figure(self, path: str, name: str) -> int:
        """Return a number from the site's JSON."""
        return int(ask(self.live, path).json()[name])

    def cookie(self, name: str) -> str:
        return str(self.people[name][1])

    def user_id(self, name: str) -> int:
        return int(self.people[name][0])


def prepare(live: LiveSite) -> FeedSite:
    """Create the site's users, a token and a first event."""
    live.migrate()
    return FeedSite(live, **json.loads(live.manage("shell", "-v0", "-c", PREPARE)))


@pytest.fixture(scope="package", params=COMMANDS)
def feed_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeedSite]:
    """The site on each server; after all tests, its log must not have an exception."""
    live = LiveSite(
        request.param, tmp_path_factory.mktemp(request.param), **ENVIRONMENT
    )
    feed_site = prepare(live)
    live.start()
    try:
        yield feed_site
    finally:
        live.stop()
    assert "Traceback" not in live.log, live.log
    assert "ERROR" not in live.log, live.log


Open = Callable[..., Any]


@pytest.fixture
def streams(feed_site: FeedSite) -> Iterator[Open]:
    """Open a stream of a class; it is closed at the end of the test."""
    with ExitStack() as stack:

        def open_stream(kind: type[Stream], *topics: str, **asked: Any) -> Stream:
            return stack.enter_context(closing(kind(feed_site.live, *topics, **asked)))

        yield open_stream


@pytest.fixture(params=TRANSPORTS)
def subscribe(request: pytest.FixtureRequest, streams: Open) -> Open:
    """Open a stream over each transport: ``subscribe("news.*", since="now")``."""
    kind = TRANSPORTS[request.param]
    return lambda *topics, **asked: streams(kind, *topics, **asked)


@pytest.fixture
def topic() -> str:
    """A topic that only this test uses."""
    return f"test.{secrets.token_hex(4)}"
