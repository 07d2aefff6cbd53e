"""The feed's HTTP beside Django: its cost, and the same checks and headers."""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from django.test import Client

from echo.tests.live import LiveSite, wait_until
from echo.tests.transports.adapters import (
    HERE,
    EventStream,
    ask,
    http_connection,
)
from echo.tests.transports.conftest import FeedSite

FEED = ["/feed/sse?since=earliest", "/feed/poll?since=earliest", "/feed/poll?wait=0"]


def threads_of(site: LiveSite) -> int:
    assert site.process is not None
    status = Path(f"/proc/{site.process.pid}/status").read_text()
    return int(
        next(line.split()[1] for line in status.splitlines() if "Threads" in line)
    )


def test_streams_have_no_threads_of_their_own(feed_site: FeedSite) -> None:
    site = feed_site.live
    with closing(EventStream(site)):
        before = threads_of(site)
        with ExitStack() as streams:
            cookies = ["", feed_site.cookie("root")]
            for number in range(8):
                cookie = cookies[number % 2]
                streams.enter_context(closing(EventStream(site, cookie=cookie)))
            # Those of the database's pool, which start when they are first asked.
            assert threads_of(site) <= before + 2


@pytest.mark.parametrize(
    "path", ["/feed/poll", "/feed/publish", "/feed/poll?wait=soon"]
)
def test_answers_have_the_security_headers_of_every_page(
    feed_site: FeedSite, path: str
) -> None:
    names = {
        "Content-Security-Policy",
        "Cross-Origin-Opener-Policy",
        "Referrer-Policy",
        "X-Content-Type-Options",
        "X-Frame-Options",
    }
    page = ask(feed_site.live, "/hello").headers
    answer = ask(feed_site.live, path).headers
    assert {name: answer[name] for name in names} == {
        name: page[name] for name in names
    }
    assert None not in {answer[name] for name in names}


@pytest.mark.parametrize("path", FEED)
def test_a_host_that_is_not_allowed_is_refused(feed_site: FeedSite, path: str) -> None:
    answer = ask(feed_site.live, path, Host="evil.example")
    assert answer.status == 400
    assert "ALLOWED_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize("path", FEED)
@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS"])
def test_reading_is_a_get(feed_site: FeedSite, path: str, method: str) -> None:
    answer = ask(feed_site.live, path, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    if method != "HEAD":
        assert answer.json()["detail"] == f"expected GET, got {method}"


def test_a_long_poll_that_is_left_leaves_nothing_behind(feed_site: FeedSite) -> None:
    site = feed_site.live
    with closing(http_connection(site, HERE)) as connection:
        connection.request("GET", "/feed/poll?wait=30")
        wait_until(
            lambda: ask(site, "/readyz").json()["connections"] == 1, "the poll to wait"
        )
    wait_until(
        lambda: ask(site, "/readyz").json()["connections"] == 0, "the poll to be gone"
    )


def test_a_body_that_a_reader_sends_is_discarded(feed_site: FeedSite) -> None:
    with closing(http_connection(feed_site.live, HERE)) as connection:
        connection.request("GET", "/feed/poll?wait=0", b"x" * 100_000)
        assert connection.getresponse().status == 200


def test_a_body_that_is_too_large_is_refused(feed_site: FeedSite) -> None:
    answer = ask(
        feed_site.live,
        "/feed/publish",
        body=b"x" * 3_000_000,
        Authorization=f"Bearer {feed_site.token}",
    )
    assert answer.status == 413


def test_wsgi_answers_with_the_remedy() -> None:
    response = Client().get("/feed/sse")
    assert response.status_code == 501
    assert "manage.py runserver" in response.json()["detail"]
