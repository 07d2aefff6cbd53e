"""Properties of Server-Sent Events alone."""

import contextlib
import socket

from echo.tests.live import wait_until
from echo.tests.transports.adapters import HERE, EventStream, ask, take_data
from echo.tests.transports.conftest import FeedSite, Open


def test_last_event_id_wins_over_since(
    feed_site: FeedSite, streams: Open, topic: str
) -> None:
    first, second, _ = feed_site.publish(topic, 1, 2, 3)
    stream = streams(EventStream, topic, since=first, last_event_id=second)
    assert stream.hello["last_event_id"] == second
    assert take_data(stream, 1) == [3]


def test_no_proxy_may_keep_or_hold_back_a_stream(streams: Open) -> None:
    headers = streams(EventStream).response.headers
    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Content-Encoding"] is None


def test_clients_get_a_retry_time(streams: Open) -> None:
    (retry,) = streams(EventStream).retries
    assert 500 <= retry <= 2000


def test_a_reset_moves_the_cursor_and_hello_before_it_does_not(streams: Open) -> None:
    stream = streams(EventStream, last_event_id="00000000-1")
    assert stream.cursor is None
    reset = stream.next()
    assert stream.cursor == reset["last_event_id"]


def test_clients_who_leave_before_the_first_byte_leave_nothing_behind(
    feed_site: FeedSite,
) -> None:
    for number in range(60):
        with socket.create_connection((HERE, feed_site.live.port)) as client:
            client.sendall(b"GET /feed/sse HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            client.settimeout(number % 6 / 1000 or None)
            with contextlib.suppress(TimeoutError):
                client.recv(1 if number % 6 else 0)
    wait_until(
        lambda: ask(feed_site.live, "/readyz").json()["connections"] == 0,
        "every subscription to be gone",
    )
