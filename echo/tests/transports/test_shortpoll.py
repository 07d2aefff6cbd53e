"""Properties of short polls alone."""

import pytest

from echo.tests.transports.adapters import ask
from echo.tests.transports.conftest import FeedSite


def test_an_answer_has_the_cursor_as_its_etag(feed_site: FeedSite, topic: str) -> None:
    (last,) = feed_site.publish(topic, 1)
    answer = ask(feed_site.live, f"/feed/poll?topic={topic}&since=earliest")
    assert answer.headers["ETag"] == f'"{last}"'
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.json()["last_event_id"] == last


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"{}-gzip"', '"x", "{}"'])
def test_if_none_match_resumes_and_nothing_new_is_304(
    feed_site: FeedSite, topic: str, form: str
) -> None:
    (last,) = feed_site.publish(topic, 1)
    path, header = f"/feed/poll?topic={topic}", form.format(last)
    silent = ask(feed_site.live, path, If_None_Match=header)
    assert (silent.status, silent.body) == (304, b"")
    assert silent.headers["ETag"] == f'"{last}"'
    feed_site.publish(topic, 2)
    answer = ask(feed_site.live, path, If_None_Match=header)
    assert answer.status == 200
    assert [event["data"] for event in answer.json()["events"]] == [2]


def test_since_wins_over_if_none_match(feed_site: FeedSite, topic: str) -> None:
    first, second = feed_site.publish(topic, 1, 2)
    path = f"/feed/poll?topic={topic}&since={first}"
    answer = ask(feed_site.live, path, If_None_Match=f'"{second}"')
    assert [event["data"] for event in answer.json()["events"]] == [2]


@pytest.mark.parametrize("header", ["*", '"an etag of something else"'])
def test_another_etag_is_no_cursor(
    feed_site: FeedSite, topic: str, header: str
) -> None:
    answer = ask(feed_site.live, f"/feed/poll?topic={topic}", If_None_Match=header)
    assert answer.status == 200
    assert answer.json()["events"] == []


def test_a_reset_is_never_304(feed_site: FeedSite, topic: str) -> None:
    path = f"/feed/poll?topic={topic}"
    answer = ask(feed_site.live, path, If_None_Match='"00000000-1"')
    assert answer.status == 200
    assert answer.json()["reset"]["reason"] == "epoch"
