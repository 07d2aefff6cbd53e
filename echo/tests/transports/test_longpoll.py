"""What is true of the feed over long polls alone."""

import pytest

from echo.tests.transports.adapters import LongPoll, Refused, ask
from echo.tests.transports.conftest import FeedSite, Open


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


@pytest.mark.parametrize("wait", ["31", "-1", "soon", "1&wait=2"])
def test_a_wait_that_is_none_is_refused(streams: Open, wait: str) -> None:
    with pytest.raises(Refused) as refusal:
        streams(LongPoll, extra=f"&wait={wait}").poll(None)
    assert refusal.value.status == 400
    assert "wait" in refusal.value.error["detail"]


def test_more_says_to_ask_again_at_once(feed_site: FeedSite, topic: str) -> None:
    for start in range(0, 600, 100):
        feed_site.publish(topic, *range(start, start + 100))
    # Events that other requests have pushed out of the node's memory come in pages.
    path = f"/feed/poll?topic={topic}&since=earliest&wait=1"
    first = ask(feed_site.live, path).json()
    assert first["more"] is True
    path = f"/feed/poll?topic={topic}&since={first['last_event_id']}&wait=1"
    rest = ask(feed_site.live, path).json()
    assert rest["more"] is False
    assert [e["data"] for e in first["events"] + rest["events"]] == list(range(600))
