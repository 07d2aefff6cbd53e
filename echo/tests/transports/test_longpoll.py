"""Properties of long polls alone."""

import pytest

from echo.tests.transports.adapters import ask
from echo.tests.transports.conftest import FeedSite


def test_an_answer_is_never_kept(feed_site: FeedSite) -> None:
    answer = ask(feed_site.live, "/feed/poll?wait=0.01")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["events"] == []
    assert answer.json()["more"] is False


def test_a_poll_without_patience_still_gets_what_there_is(
    feed_site: FeedSite, topic: str
) -> None:
    feed_site.publish(topic, "waiting")
    for wait in ("0", "0.001"):
        path = f"/feed/poll?topic={topic}&since=earliest&wait={wait}"
        events = ask(feed_site.live, path).json()["events"]
        assert [event["data"] for event in events] == ["waiting"]


@pytest.mark.parametrize(
    ("wait", "reason"),
    [
        ("31", "expected seconds from 0 to 30, got '31'"),
        ("soon", "expected seconds from 0 to 30, got 'soon'"),
        ("1&wait=2", "wait is given twice"),
    ],
)
def test_a_wait_that_is_none_is_refused(
    feed_site: FeedSite, wait: str, reason: str
) -> None:
    answer = ask(feed_site.live, f"/feed/poll?wait={wait}")
    assert answer.status == 400
    assert reason in answer.json()["detail"]


def test_more_says_to_ask_again_at_once(feed_site: FeedSite, topic: str) -> None:
    for start in range(0, 600, 100):
        feed_site.publish(topic, *range(start, start + 100))
    path = f"/feed/poll?topic={topic}&since=earliest&wait=1"
    first = ask(feed_site.live, path).json()
    assert first["more"] is True
    path = f"/feed/poll?topic={topic}&since={first['last_event_id']}&wait=1"
    rest = ask(feed_site.live, path).json()
    assert rest["more"] is False
    assert [e["data"] for e in first["events"] + rest["events"]] == list(range(600))
