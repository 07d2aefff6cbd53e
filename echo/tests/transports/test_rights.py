"""A reader that loses the right to a topic gets no further events of it."""

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest

from echo.tests.live import COMMANDS, PATIENCE_SECONDS, LiveSite, wait_until
from echo.tests.transports.adapters import (
    TRANSPORTS,
    Ended,
    EventStream,
    LongPoll,
    Refused,
    ShortPoll,
    Stream,
    WebSocket,
    ask,
    next_of,
    take_data,
)
from echo.tests.transports.conftest import ENVIRONMENT, FeedSite, prepare
from echo.tests.transports.people import Person, make_person

NEVER, SOON = "3600", "0.5"
DAY_MS = 24 * 60 * 60 * 1000
STREAMS = {"websocket": WebSocket, "sse": EventStream}


def site_that_checks_rights(
    seconds: str, request: Any, factory: Any
) -> Iterator[FeedSite]:
    live = LiveSite(
        request.param,
        factory.mktemp(request.param),
        **ENVIRONMENT | {"FEED_JUDGE_SECONDS": seconds},
    )
    prepared = prepare(live)
    live.start()
    try:
        yield prepared
    finally:
        live.stop()
    assert "Traceback" not in live.log, live.log


@pytest.fixture(scope="module", params=COMMANDS)
def feed_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeedSite]:
    """A site that checks rights only after a change is announced."""
    yield from site_that_checks_rights(NEVER, request, tmp_path_factory)


@pytest.fixture(scope="module", params=COMMANDS)
def watchful_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeedSite]:
    """A site that checks rights twice a second."""
    yield from site_that_checks_rights(SOON, request, tmp_path_factory)


@pytest.fixture
def person(feed_site: FeedSite) -> Person:
    return make_person(feed_site.live)


def read_on(stream: Stream) -> tuple[list[Any], int | None]:
    """Return the data up to the end of the stream, and the code or status of the end."""
    data: list[Any] = []
    code: int | None = None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            frame = stream.next()
        except (Ended, Refused) as end:
            closed = getattr(end, "code", None) or getattr(end, "status", None)
            return data, code or closed
        if frame["type"] == "event":
            data.append(frame["data"])
        if frame["type"] == "bye":
            code = frame["code"]
    raise AssertionError(f"the stream goes on: {data}")


def taken_away(person: Person, how: str) -> None:
    person.sign_out() if how == "signed out" else person.change(how)


HOW = ["signed out", "demoted", "inactive", "deleted", "new password"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_delivered_after_the_right_to_it_is_taken_away(
    feed_site: FeedSite, streams: Any, transport: str, how: str, person: Person
) -> None:
    topic = f"staff.{secrets.token_hex(4)}"
    stream = streams(TRANSPORTS[transport], topic, cookie=person.cookie)
    feed_site.publish(topic, "before")
    assert take_data(stream, 1) == ["before"]
    taken_away(person, how)
    feed_site.publish(topic, *range(5))
    is_poll = transport in ("longpoll", "shortpoll")
    assert read_on(stream) == ([], 403 if is_poll else 4507)


@pytest.mark.parametrize("how", ["signed out", "demoted"])
def test_a_socket_is_closed_with_4507(streams: Any, how: str, person: Person) -> None:
    stream = streams(WebSocket, "staff.x", "news", cookie=person.cookie)
    taken_away(person, how)
    bye = next_of(stream, "bye")
    assert (bye["code"], bye["retry_ms"]) == (4507, DAY_MS)
    with pytest.raises(Ended) as end:
        stream.next()
    assert end.value.code == 4507
    assert end.value.reason == "no longer allowed to read these topics"


def test_an_event_stream_gets_a_retry_time_of_a_day(
    streams: Any, person: Person
) -> None:
    stream = streams(EventStream, "staff.x", cookie=person.cookie)
    person.sign_out()
    assert next_of(stream, "bye")["code"] == 4507
    assert stream.retries[-1] == DAY_MS
    with pytest.raises(Ended):
        stream.next()


def waits(site: LiveSite) -> bool:
    """Return True while a long poll is open."""
    return b'feed_connections{transport="longpoll"} 1.0' in ask(site, "/metrics").body


def test_a_long_poll_that_waits_is_answered_at_once(
    streams: Any, person: Person
) -> None:
    stream = streams(LongPoll, "staff.x", cookie=person.cookie)
    stream.wait = "30"
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(stream.next)
        wait_until(lambda: waits(person.site), "the poll to wait")
        began = time.monotonic()
        person.sign_out()
        assert waiting.result(PATIENCE_SECONDS)["code"] == 4507
    assert time.monotonic() - began < 25  # and not after its wait


@pytest.mark.parametrize("how", ["signed out", "demoted"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reader_of_everything_goes_on_with_what_is_public(
    feed_site: FeedSite, streams: Any, transport: str, how: str, person: Person
) -> None:
    topic = secrets.token_hex(4)
    stream = streams(TRANSPORTS[transport], "*", cookie=person.cookie)
    feed_site.publish(f"staff.{topic}", "for staff")
    assert take_data(stream, 1) == ["for staff"]
    taken_away(person, how)
    feed_site.publish(f"staff.{topic}", "no longer")
    feed_site.publish(topic, "public")
    assert take_data(stream, 1) == ["public"]


@pytest.mark.parametrize("transport", STREAMS)
def test_a_user_s_own_topics_end_with_the_session_and_not_with_the_staff_s_rights(
    feed_site: FeedSite, streams: Any, transport: str, person: Person
) -> None:
    topic = f"user.{person.id}.mail"
    stream = streams(TRANSPORTS[transport], topic, cookie=person.cookie)
    person.change("demoted")
    feed_site.publish(topic, "still theirs")
    assert take_data(stream, 1) == ["still theirs"]
    person.change("new password")
    feed_site.publish(topic, "not theirs")
    assert read_on(stream) == ([], 4507)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_reads_only_what_is_public_goes_on(
    feed_site: FeedSite, streams: Any, transport: str, topic: str, person: Person
) -> None:
    stream = streams(TRANSPORTS[transport], topic, cookie=person.cookie)
    person.sign_out()
    feed_site.publish(topic, 1, 2)
    assert take_data(stream, 2) == [1, 2]


@pytest.mark.parametrize("transport", STREAMS)
def test_others_and_another_sign_in_are_left_alone(
    feed_site: FeedSite, streams: Any, transport: str, person: Person
) -> None:
    topic = f"staff.{secrets.token_hex(4)}"
    stream = streams(TRANSPORTS[transport], topic, cookie=person.cookie)
    make_person(feed_site.live).sign_out()
    person.change("signed in again")
    feed_site.publish(topic, 1)
    assert take_data(stream, 1) == [1]


@pytest.mark.parametrize("transport", [WebSocket, EventStream, LongPoll, ShortPoll])
def test_an_unannounced_change_is_found_by_the_next_round(
    watchful_site: FeedSite, transport: type[Stream]
) -> None:
    person = make_person(watchful_site.live)
    asked: Any = {"cookie": person.cookie}
    with ExitStack() as stack:
        stream = stack.enter_context(
            closing(transport(watchful_site.live, "staff.x", **asked))
        )
        person.change("demoted silently")
        assert read_on(stream)[1] in (4507, 403)
