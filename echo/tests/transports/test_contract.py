"""The contract of all four transports, on both servers."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from echo.feed.recent import MAX_BYTES
from echo.protocol import EVENT_ID
from echo.tests.live import wait_until
from echo.tests.transports.adapters import (
    TRANSPORTS,
    Ended,
    EventStream,
    LongPoll,
    Refused,
    ShortPoll,
    WebSocket,
    ask,
    next_of,
    take,
    take_data,
)
from echo.tests.transports.conftest import (
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_ADDRESS,
    FeedSite,
    Open,
)

VALUES = [1, None, "小王子 \u2028 \r\n", {"a": [True, 1.5]}, "", "x" * 60_000]


# --- delivers -------------------------------------------------------------------------


def test_events_arrive_whole_and_in_order(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    stream = subscribe(topic)
    ids = feed_site.publish(topic, *VALUES)
    events = take(stream, len(VALUES))
    assert [event["data"] for event in events] == VALUES
    assert [event["id"] for event in events] == ids
    assert [event["previous"] for event in events] == [None, *ids[:-1]]
    assert {event["topic"] for event in events} == {topic}
    assert list(events[0]) == ["type", "id", "previous", "topic", "sent_at", "data"]


def test_a_stream_goes_on_after_the_first_event(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    stream = subscribe(topic)
    for number in range(5):
        feed_site.publish(topic, number)
        assert take_data(stream, 1) == [number]


def test_an_event_that_another_process_commits_arrives_everywhere(
    feed_site: FeedSite, streams: Open, topic: str
) -> None:
    readers = [streams(transport, topic) for transport in TRANSPORTS.values()]
    feed_site.live.manage("broadcast", "--topic", topic, "from the shell")
    assert [take_data(reader, 1) for reader in readers] == [["from the shell"]] * 4


# --- filters --------------------------------------------------------------------------


def test_only_the_topics_asked_for_arrive(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    stream = subscribe(f"{topic}.a", f"{topic}.b.*")
    for name in ("a", "b", "a.x", "b.x", "b.x.y", "c", "a"):
        feed_site.publish(f"{topic}.{name}", name)
    assert take_data(stream, 4) == ["a", "b.x", "b.x.y", "a"]


def test_a_star_is_everything_that_may_be_read(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    stream = subscribe("*")
    feed_site.publish("staff.secret", "secret")
    feed_site.publish(f"user.{feed_site.user_id('ada')}.mail", "private")
    feed_site.publish(topic, "public")
    assert take_data(stream, 1) == ["public"]


def test_without_a_topic_it_is_news(feed_site: FeedSite, subscribe: Open) -> None:
    stream = subscribe()
    feed_site.publish("newsletter", "no")
    feed_site.publish("news", "yes")
    assert take_data(stream, 1) == ["yes"]


# --- resumes --------------------------------------------------------------------------


def test_a_reader_from_now_gets_nothing_older(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    feed_site.publish(topic, "old")
    stream = subscribe(topic, since="now")
    feed_site.publish(topic, "new")
    assert take_data(stream, 1) == ["new"]


def test_a_reader_from_earliest_gets_all_that_is_kept(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    feed_site.publish(topic, "one", "two")
    stream = subscribe(topic, since="earliest")
    feed_site.publish(topic, "three")
    assert take_data(stream, 3) == ["one", "two", "three"]


def test_a_reader_from_an_id_gets_exactly_what_came_after_it(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    _, second, _ = feed_site.publish(topic, 1, 2, 3)
    stream = subscribe(topic, since=second)
    feed_site.publish(topic, 4)
    assert take_data(stream, 2) == [3, 4]


def test_a_reader_who_comes_back_with_its_cursor_misses_nothing(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    stream = subscribe(topic)
    feed_site.publish(topic, 1, 2)
    assert take_data(stream, 2) == [1, 2]
    cursor = stream.cursor
    stream.close()
    feed_site.publish(topic, 3)
    again = subscribe(topic, since=cursor)
    feed_site.publish(topic, 4)
    assert take_data(again, 2) == [3, 4]


def test_a_long_replay_is_whole(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    for start in range(0, 1200, 100):
        feed_site.publish(topic, *range(start, start + 100))
    stream = subscribe(topic, since="earliest")
    assert take_data(stream, 1200) == list(range(1200))


# --- says reset -----------------------------------------------------------------------


def test_an_id_of_another_epoch_is_reset_and_then_live(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    feed_site.publish(topic, "before")
    check_reset(feed_site, subscribe(topic, since="00000000-1"), topic, "epoch")


def test_an_id_ahead_of_the_log_is_reset_and_then_live(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    (last,) = feed_site.publish(topic, "before")
    ahead = f"{last.split('-')[0]}-999999999"
    check_reset(feed_site, subscribe(topic, since=ahead), topic, "ahead")


def test_an_id_older_than_what_is_kept_is_reset_and_then_live(
    feed_site: FeedSite, subscribe: Open, expired: str
) -> None:
    check_reset(feed_site, subscribe("brief", since=expired), "brief", "expired")


def check_reset(feed_site: FeedSite, stream: Any, topic: str, reason: str) -> None:
    """Check that the reset comes first, with the id from which the stream goes on."""
    if stream.hello is not None:
        assert stream.hello["resumed"] is False
        assert "last_event_id" not in stream.hello
    reset = stream.next()
    assert (reset["type"], reset["reason"]) == ("reset", reason)
    assert EVENT_ID.fullmatch(reset["last_event_id"])
    (after,) = feed_site.publish(topic, "after")
    (event,) = take(stream, 1)
    assert (event["data"], event["id"]) == ("after", after)


@pytest.fixture(scope="module")
def expired(feed_site: FeedSite) -> str:
    """An id of ``brief`` that is older than a pruned event."""
    feed_site.publish("brief", 1, 2)
    # What is still in memory is not missed: it must have been pushed out.
    for _ in range(MAX_BYTES // 60_000 + 1):
        feed_site.publish("other", "x" * 60_000)

    def is_expired() -> bool:
        # By its hello: a judgement is shared for a second, and a page that is read meanwhile
        # may be reset before it.
        stream = WebSocket(feed_site.live, "brief", since=feed_site.first)
        stream.close()
        return stream.hello["resumed"] is False

    wait_until(is_expired, "the nodes to prune")
    return feed_site.first


# --- keeps alive ----------------------------------------------------------------------


def test_silence_is_filled_and_moves_the_cursor(
    feed_site: FeedSite, subscribe: Open, topic: str
) -> None:
    stream = subscribe(topic)
    (elsewhere,) = feed_site.publish(f"{topic}.other", "not for us")

    def cursor() -> str:
        return str(next_of(stream, "heartbeat")["last_event_id"])

    if isinstance(stream, ShortPoll):
        assert next_of(stream, "heartbeat")
        assert stream.status == 304
    else:
        wait_until(lambda: cursor() == elsewhere, "a heartbeat with the log's head")


# --- is counted -----------------------------------------------------------------------


@pytest.mark.parametrize("transport", [WebSocket, EventStream, LongPoll])
def test_each_delivery_of_the_admins_event_is_counted_once(
    feed_site: FeedSite, streams: Open, topic: str, transport: Any
) -> None:
    stream = streams(transport, topic)
    if isinstance(stream, LongPoll):
        # Only a reader that is there when the event comes is sent it live.
        with ThreadPoolExecutor(1) as pool:
            polled = pool.submit(take_data, stream, 1)
            event = publish_to_readers(feed_site, topic)
            assert polled.result() == [1]
    else:
        event = publish_to_readers(feed_site, topic)
        assert take_data(stream, 1) == [1]
    assert feed_site.figure(f"/deliveries?id={event}", "delivered") == 1


def publish_to_readers(feed_site: FeedSite, topic: str) -> str:
    """Publish as the admin does, once somebody reads the topic; return the id."""
    wait_until(
        lambda: feed_site.figure(f"/readers?topic={topic}", "readers") == 1,
        "the reader to be there",
    )
    return str(ask(feed_site.live, f"/publish-in-admin?topic={topic}").json()["id"])


# --- says bye -------------------------------------------------------------------------


@pytest.mark.parametrize("transport", [WebSocket, EventStream, LongPoll])
@pytest.mark.parametrize("code", [4503, 4011])
def test_an_ended_reader_gets_the_reason_and_the_time_to_retry(
    feed_site: FeedSite, streams: Open, topic: str, transport: Any, code: int
) -> None:
    stream = streams(transport, topic)
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(next_of, stream, "bye")
        wait_until(
            lambda: feed_site.end(topic, code, "小王子, mind <this>"),
            "the reader to be there",
        )
        bye = told.result()
    assert (bye["code"], bye["reason"]) == (code, "小王子, mind <this>")
    assert (bye["retry_ms"] >= 86_400_000) is (code == 4503)
    if not isinstance(stream, LongPoll):
        check_end(stream, bye)
    again = streams(transport, topic, since=stream.cursor)
    feed_site.publish(topic, "after")
    assert take_data(again, 1) == ["after"]


def check_end(stream: Any, bye: Any) -> None:
    """Check that the stream has ended, with the bye's code or retry time."""
    with pytest.raises(Ended) as end:
        stream.next()
    if isinstance(stream, EventStream):
        assert stream.retries[-1] == bye["retry_ms"]
    else:
        assert (end.value.code, end.value.reason) == (bye["code"], bye["reason"])


def test_there_is_no_connection_between_two_short_polls(
    feed_site: FeedSite, streams: Open, topic: str
) -> None:
    stream = streams(ShortPoll, topic)
    assert feed_site.end(topic, 4503, "gone already") == 0
    feed_site.publish(topic, "after")
    assert take_data(stream, 1) == ["after"]


# --- refuses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("&topic=a%20b", "topic: expected words of A-Z"),
        ("&topic=a.*.b", "topic: expected words of A-Z"),
        ("&topic=", "topic: expected words of A-Z"),
        ("&topic=x" * 33, "topic: expected at most 32"),
        ("&since=yesterday", "since: expected now, earliest or an event's id"),
        ("&since=now&since=now", "since is given twice"),
    ],
)
def test_bad_parameters_are_refused_with_the_reason(
    subscribe: Open, extra: str, reason: str
) -> None:
    with pytest.raises(Refused) as refusal:
        subscribe(extra=extra)
    assert refusal.value.status == 400
    assert refusal.value.headers["Content-Type"].startswith("application/json")
    assert refusal.value.error["error"] == "Bad Request"
    assert reason in refusal.value.error["detail"]


@pytest.mark.parametrize("pattern", ["staff.ops", "staff.*", "user.1.x", "user.*"])
def test_forbidden_topics_are_refused(subscribe: Open, pattern: str) -> None:
    with pytest.raises(Refused) as refusal:
        subscribe("news", pattern)
    assert refusal.value.status == 403
    assert f"topic: {pattern} may not be read by" in refusal.value.error["detail"]


def test_staff_and_users_read_their_own_topics(
    feed_site: FeedSite, subscribe: Open
) -> None:
    own = f"user.{feed_site.user_id('ada')}.mail"
    ada = subscribe(own, cookie=feed_site.cookie("ada"))
    root = subscribe("staff.*", cookie=feed_site.cookie("root"))
    feed_site.publish(own, "for ada")
    feed_site.publish("staff.ops", "for staff")
    assert take_data(ada, 1) == ["for ada"]
    assert take_data(root, 1) == ["for staff"]
    with pytest.raises(Refused) as refusal:
        subscribe(own, cookie=feed_site.cookie("root"))
    assert refusal.value.status == 403


def test_connections_beyond_a_limit_are_refused(
    feed_site: FeedSite, subscribe: Open, streams: Open
) -> None:
    held = feed_connections(feed_site)
    assert held == 0, "an earlier test's connections are still there"
    for _ in range(MAX_CONNECTIONS_PER_ADDRESS):
        streams(TRANSPORTS["websocket"])
    with pytest.raises(Refused) as refusal:
        subscribe()
    assert refusal.value.status == 429
    assert "127.0.0.1 has its 9 connections" in refusal.value.error["detail"]
    for _ in range(MAX_CONNECTIONS - MAX_CONNECTIONS_PER_ADDRESS):
        streams(TRANSPORTS["websocket"], source="127.0.0.2")
    with pytest.raises(Refused) as refusal:
        subscribe(source="127.0.0.3")
    assert refusal.value.status == 429
    assert "this node has its 12 connections" in refusal.value.error["detail"]


def test_a_burst_of_connections_finds_no_more_places_than_there_are(
    feed_site: FeedSite, streams: Open
) -> None:
    assert feed_connections(feed_site) == 0

    def status(number: int) -> int:
        try:
            streams(TRANSPORTS["sse"], since="earliest", source="127.0.0.4")
        except Refused as refusal:
            return refusal.status
        return 200

    with ThreadPoolExecutor(40) as threads:
        answers = Counter(threads.map(status, range(40)))
    taken = MAX_CONNECTIONS_PER_ADDRESS
    assert answers == {200: taken, 429: 40 - taken}


def feed_connections(feed_site: FeedSite) -> int:
    """Return the node's number of connections, once closed ones have gone."""

    def connections() -> int:
        return int(ask(feed_site.live, "/readyz").json()["connections"])

    wait_until(lambda: connections() == 0, "closed connections to be gone")
    return connections()


def test_a_client_that_has_gone_is_not_counted(
    feed_site: FeedSite, subscribe: Open
) -> None:
    for _ in range(5):
        subscribe().close()
    assert feed_connections(feed_site) == 0
