"""Who may read what: staff.* for staff, user.<id>.* for that user, the rest for all."""

from itertools import product

import pytest
from django.contrib.auth.models import AnonymousUser, User

from echo.feed.access import Interest, Reader, is_public, patterns_of
from echo.protocol import NotAllowed, matches

VISITOR = Reader()
ADA = Reader("7", username="ada")
ROOT = Reader("1", is_staff=True, username="root")


@pytest.mark.parametrize("reader", [VISITOR, ADA, ROOT])
@pytest.mark.parametrize(
    "topic", ["news", "news.eu", "news.*", "*", "users.7", "x.staff"]
)
def test_everybody_reads_what_is_public(reader: Reader, topic: str) -> None:
    assert reader.may_read(topic)


@pytest.mark.parametrize("topic", ["staff", "staff.ops", "staff.*", "staff.ops.*"])
def test_only_staff_read_staff_topics(topic: str) -> None:
    assert ROOT.may_read(topic)
    assert not ADA.may_read(topic)
    assert not VISITOR.may_read(topic)


@pytest.mark.parametrize("topic", ["user.7", "user.7.mail", "user.7.*", "user.7.a.*"])
def test_only_the_user_reads_their_own_topics(topic: str) -> None:
    assert ADA.may_read(topic)
    assert not ROOT.may_read(topic)
    assert not VISITOR.may_read(topic)


@pytest.mark.parametrize("topic", ["user", "user.*", "user.70.x", "user.None"])
def test_nobody_reads_the_topics_of_all_users(topic: str) -> None:
    assert not any(reader.may_read(topic) for reader in (VISITOR, ADA, ROOT))


def test_a_star_matches_only_what_may_be_read() -> None:
    everything = Interest(("*",), ADA)
    assert everything.matches("news")
    assert everything.matches("user.7.mail")
    assert not everything.matches("user.8.mail")
    assert not everything.matches("staff.ops")


def test_a_pattern_that_may_not_be_read_is_refused_by_name() -> None:
    with pytest.raises(NotAllowed, match=r"staff\.ops may not be read by ada"):
        Interest(("news", "staff.ops"), ADA)
    with pytest.raises(NotAllowed, match="a visitor who has not signed in"):
        Interest(("user.7.*",))


def test_a_prefix_matches_whole_words_below_it() -> None:
    news = Interest(("news.*", "weather"))
    assert news.matches("news.eu")
    assert news.matches("news.eu.fr")
    assert news.matches("weather")
    assert not news.matches("news")
    assert not news.matches("newsletter.eu")
    assert not news.matches("weather.eu")


def test_a_reader_is_made_from_a_user() -> None:
    assert Reader.of(AnonymousUser()) == VISITOR
    assert Reader.of(User(pk=7, username="ada")) == ADA
    assert Reader.of(User(pk=1, username="root", is_staff=True)) == ROOT


WORDS = ("a", "b", "staff", "user")
TOPICS = [
    ".".join(words) for size in (1, 2, 3) for words in product(WORDS, repeat=size)
]
PATTERNS = ["*", *TOPICS, *(f"{topic}.*" for topic in TOPICS)]


def test_the_patterns_of_a_topic_are_all_that_match_it() -> None:
    for topic in TOPICS:
        assert set(patterns_of(topic)) == {p for p in PATTERNS if matches(p, topic)}


def test_what_is_public_is_what_a_visitor_may_read() -> None:
    for topic in PATTERNS:
        assert is_public(topic) == VISITOR.may_read(topic), topic
