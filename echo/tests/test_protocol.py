"""The names on the wire: ids, topics, patterns and a reader's parameters."""

import contextlib
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from echo.protocol import (
    EPOCH_ALPHABET,
    MAX_TOPIC_LENGTH,
    CloseCode,
    EventId,
    FeedError,
    FeedQuery,
    check_pattern,
    check_topic,
    is_sendable_close_code,
    matches,
    parse_topics,
    parse_wait,
)

WORD = re.compile(r"[A-Za-z0-9_-]+")
WORDS = st.text("abcXYZ019_-", min_size=1, max_size=8)
TOPICS = st.lists(WORDS, min_size=1, max_size=5).map(".".join)
IDS = st.builds(
    EventId,
    st.text(EPOCH_ALPHABET, min_size=8, max_size=8),
    st.integers(0, 10**18 - 1),
)


@given(IDS)
def test_an_id_is_read_as_it_is_written(identity: EventId) -> None:
    assert EventId.parse(str(identity)) == identity


@given(st.text(max_size=30))
def test_an_id_is_read_in_one_form_only(text: str) -> None:
    with contextlib.suppress(FeedError):
        assert str(EventId.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "1", "k3Zp9w1q", "k3Zp9w1q-", "k3Zp9w1q-01", "k3Zp9w1q--1", "k3Zp9w1-1"]
    + ["k3Zp9w1q-1\n", " k3Zp9w1q-1", "k3Zp9w1q-1000000000000000000", "k3Zp9w1q-١"],
)
def test_what_is_almost_an_id_is_refused(text: str) -> None:
    with pytest.raises(FeedError):
        EventId.parse(text)


@given(TOPICS)
def test_words_joined_with_dots_are_a_topic(topic: str) -> None:
    assert check_topic(topic) == topic
    assert check_pattern(f"{topic}.*") == f"{topic}.*"


@given(st.text(max_size=20) | st.text("ab.*-_ \n", max_size=8))
def test_nothing_else_is_a_topic(text: str) -> None:
    assume(not all(WORD.fullmatch(word) for word in text.split(".")))
    with pytest.raises(FeedError, match="topic: expected words"):
        check_topic(text)


def test_a_topic_has_at_most_90_characters() -> None:
    assert check_topic("x" * MAX_TOPIC_LENGTH)
    with pytest.raises(FeedError, match="at most 90 characters"):
        check_topic("x" * (MAX_TOPIC_LENGTH + 1))


@pytest.mark.parametrize("pattern", ["**", ".*", "a*", "*.a", "a.*.b", "a.*.*", ""])
def test_a_star_stands_alone_or_last(pattern: str) -> None:
    with pytest.raises(FeedError):
        check_pattern(pattern)


@given(TOPICS, TOPICS)
def test_a_prefix_matches_by_whole_words(prefix: str, topic: str) -> None:
    words, below = prefix.split("."), topic.split(".")
    is_below = len(below) > len(words) and below[: len(words)] == words
    assert matches(f"{prefix}.*", topic) == is_below
    assert matches(f"{prefix}.*", f"{prefix}.{topic}")
    assert matches("*", topic)
    assert matches(prefix, topic) == (prefix == topic)


def test_topics_are_news_unless_they_are_named() -> None:
    assert parse_topics([]) == ("news",)
    assert parse_topics(["b", "a.*", "b"]) == ("b", "a.*")


def test_at_most_32_topics_are_read_at_once() -> None:
    names = [f"t{number}" for number in range(33)]
    assert len(parse_topics(names[:32])) == 32
    with pytest.raises(FeedError, match="at most 32, got 33"):
        parse_topics(names)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("", None), ("0", 0), ("25", 25), ("0.25", 0.25), ("30", 30)],
)
def test_a_wait_is_seconds_up_to_30(text: str | None, seconds: float | None) -> None:
    assert parse_wait(text) == seconds


@pytest.mark.parametrize("text", ["30.001", "31", "-1", "1e1", "nan", "1s", "٣", "1."])
def test_any_other_wait_is_refused(text: str) -> None:
    with pytest.raises(FeedError, match="wait: expected seconds from 0 to 30"):
        parse_wait(text)


def test_a_query_says_everything_that_a_reader_asks() -> None:
    query = FeedQuery.parse("topic=news.*&topic=a&since=k3Zp9w1q-5&wait=2.5&other=1")
    assert query == FeedQuery(("news.*", "a"), "k3Zp9w1q-5", 2.5)
    assert FeedQuery.parse("") == FeedQuery(("news",), "now", None)


def test_a_header_that_resumes_wins_and_one_that_may_be_silent_gives_way() -> None:
    one, two = "k3Zp9w1q-1", "k3Zp9w1q-2"
    assert FeedQuery.parse(f"since={one}", resume_from=two).since == two
    assert FeedQuery.parse(f"since={one}", if_silent=two).since == one
    assert FeedQuery.parse("", if_silent=two).since == two
    assert FeedQuery.parse("since=", resume_from="").since == "now"


@pytest.mark.parametrize("name", ["since", "wait"])
def test_what_is_given_twice_is_refused(name: str) -> None:
    with pytest.raises(FeedError, match=f"{name} is given twice"):
        FeedQuery.parse(f"{name}=1&{name}=1")


def test_more_than_100_parameters_are_refused() -> None:
    with pytest.raises(FeedError, match="at most 100 parameters"):
        FeedQuery.parse("&".join(["x=1"] * 101))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["topic", "since", "wait", "x"]), st.text(max_size=12)
        ),
        max_size=5,
    )
)
def test_a_query_is_understood_or_refused_with_a_reason(fields: Any) -> None:
    with contextlib.suppress(FeedError):
        query = FeedQuery.parse(urlencode(fields))
        assert query.topics
        assert query.wait_seconds is None or 0 <= query.wait_seconds <= 30
        assert query.since in ("now", "earliest") or EventId.parse(query.since)


def test_the_feed_s_close_codes_say_whether_to_come_back() -> None:
    own = {code.name: code // 500 for code in CloseCode if code >= 4000}
    assert own == {
        "SHUTDOWN": 8,
        "ASKED_TO_RECONNECT": 8,
        "BAD_REQUEST": 9,
        "DISCONNECTED_BY_OPERATOR": 9,
        "NOT_ALLOWED": 9,
    }
    assert all(is_sendable_close_code(code) for code in CloseCode)
