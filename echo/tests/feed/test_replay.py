"""What a reader can be given of the past: at a cost that many topics do not raise."""

import random
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from echo.feed import log, replay, retention
from echo.feed.access import Interest, Reader
from echo.feed.event import Event
from echo.feed.log import Entry
from echo.feed.replay import Expired
from echo.models import Log, Topic
from echo.protocol import EventId

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])

ADA = Reader("7", username="ada")
STAFF = Reader("1", is_staff=True)
NAMES = (
    "news",
    "news.eu",
    "news.eu.north",
    "News.eu",
    "newsletter.x",
    "news_x.y",
    "staff",
    "staff.ops",
    "staffing.x",
    "user",
    "user.7",
    "user.7.mail",
    "user.70.mail",
    "user.8.mail",
    "users.x",
)
PATTERNS = ("*", "news", "news.*", "news.eu.*", "News.*", "news_x.*", "none.*", "none")
OWN_PATTERNS = {
    Reader(): PATTERNS,
    ADA: (*PATTERNS, "user.7", "user.7.*", "user.7.mail"),
    STAFF: (*PATTERNS, "staff.*", "staff.ops", "staff"),
}


def append(*topics: str) -> list[Event]:
    return log.append([Entry(topic, "1") for topic in topics])[0]


def interests() -> Iterator[Interest]:
    for reader, patterns in OWN_PATTERNS.items():
        for pattern in patterns:
            yield Interest((pattern,), reader)
        yield Interest(("news", "news.eu.*", patterns[-1]), reader)


def numbers(interest: Interest, after: int = 0) -> list[int]:
    """Return the numbers that an interest is given, page by page."""
    last = log.head().number
    found: list[int] = []
    while after < last:
        page = replay.page(interest, after, last)
        assert page.reached > after
        found += [event.number for event in page.events]
        after = page.reached
    return found


# --- which topics ----------------------------------------------------------------------


@pytest.mark.parametrize("most", [100, 1])
def test_the_database_finds_the_topics_that_the_interest_matches(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(replay, "MAX_TOPICS_ASKED", most)
    monkeypatch.setattr(replay, "SCANNED_EVENTS", 4)
    events = append(*NAMES, *NAMES)
    for interest in interests():
        wanted = [event.number for event in events if interest.matches(event.topic)]
        assert numbers(interest) == wanted, interest


def test_what_has_been_pruned_counts_for_those_who_could_have_read_it() -> None:
    append(*NAMES)
    for name in NAMES:
        Topic.objects.update(pruned_number=0)
        Topic.objects.filter(name=name).update(pruned_number=5)
        for interest in interests():
            expected = 5 if interest.matches(name) else 0
            assert replay.pruned(interest) == expected, (name, interest)


def test_many_topics_of_a_pattern_are_read_a_part_of_the_log_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay, "MAX_TOPICS_ASKED", 3)
    monkeypatch.setattr(replay, "SCANNED_EVENTS", 10)
    append(*["busy"] * 25, *[f"wide.{number}" for number in range(5)], "busy")
    page = replay.page(Interest(("wide.*",)), 0, 31)
    assert (page.events, page.reached) == ([], 10)
    assert numbers(Interest(("wide.*",))) == [26, 27, 28, 29, 30]


def test_a_pattern_of_many_quiet_topics_asks_only_those_with_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay, "MAX_TOPICS_ASKED", 3)
    append(*[f"wide.{number}" for number in range(50)])
    append("wide.7", "wide.9")
    assert replay.names_with_news(Interest(("wide.*",)), 50) == ["wide.7", "wide.9"]
    assert numbers(Interest(("wide.*",)), 50) == [51, 52]


def test_a_page_costs_the_same_few_queries_however_many_topics_there_are() -> None:
    append(*[f"once.{number}" for number in range(300)], "quiet.a")
    with CaptureQueriesContext(connection) as queries:
        assert numbers(Interest(("quiet.*",))) == [301]
    assert len(queries) <= 9, [query["sql"] for query in queries]


# --- topics that have been deleted ------------------------------------------------------


@pytest.fixture
def forgetful(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention keeps nothing, and no topic that is empty."""
    settings.FEED_RETENTION_EVENTS = 0
    monkeypatch.setattr(retention, "KEPT_EMPTY_TOPICS", 0)


def is_reset(interest: Interest, since: int) -> bool:
    notice = replay.start(interest, str(EventId(log.head().epoch, since)))[1]
    if notice is not None:
        assert notice.fields["reason"] == "expired"
    return notice is not None


@pytest.mark.usefixtures("forgetful")
def test_a_topic_that_is_empty_is_deleted_and_its_readers_are_reset() -> None:
    append("news", "other")
    retention.prune()
    assert not Topic.objects.exists()
    for interest in (Interest(("news",)), Interest(("news.*", "x")), Interest(("*",))):
        assert is_reset(interest, 1)
        assert not is_reset(interest, 2)
        with pytest.raises(Expired):
            replay.page(interest, 1, 2)


@pytest.mark.usefixtures("forgetful")
def test_a_topic_that_exists_knows_nothing_of_the_deleted_ones(
    settings: Settings,
) -> None:
    append("quiet")
    Topic.objects.update(retention_events=10)
    append("busy", "busy")
    retention.prune()
    assert [topic.name for topic in Topic.objects.all()] == ["quiet"]
    assert not is_reset(Interest(("quiet",)), 0)
    assert numbers(Interest(("quiet",))) == [1]
    assert is_reset(Interest(("quiet", "busy")), 0)


@pytest.mark.usefixtures("forgetful")
def test_a_deleted_topic_resets_only_those_who_could_have_read_it() -> None:
    append("staff.ops", "user.8.mail")
    retention.prune()
    assert not Topic.objects.exists()
    for pattern in ("*", "news", "news.*"):
        assert not is_reset(Interest((pattern,)), 0)
    assert is_reset(Interest(("*",), STAFF), 0)
    assert is_reset(Interest(("staff.*",), STAFF), 0)
    assert not is_reset(Interest(("news.*",), STAFF), 0)
    assert is_reset(Interest(("user.7.*",), ADA), 1)  # users have one mark together
    assert not is_reset(Interest(("user.7.*",), ADA), 2)


@pytest.mark.usefixtures("forgetful")
def test_a_topic_that_begins_again_resets_who_missed_its_earlier_events(
    settings: Settings,
) -> None:
    append("news", "other")
    retention.prune()
    settings.FEED_RETENTION_EVENTS = 10
    (event,) = append("news")
    assert event.previous is None
    assert is_reset(Interest(("news",)), 1)
    assert not is_reset(Interest(("news",)), 2)
    assert numbers(Interest(("news",)), 2) == [3]


def test_the_topics_that_became_empty_last_are_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "KEPT_EMPTY_TOPICS", 2)
    settings.FEED_RETENTION_EVENTS = 0
    append("a", "b", "c", "d")
    retention.prune()
    assert [topic.name for topic in Topic.objects.all()] == ["c", "d"]
    assert Log.objects.get().deleted_public_number == 2
    assert not is_reset(Interest(("*",)), 4)
    assert is_reset(Interest(("d",)), 3)
    assert not is_reset(Interest(("c",)), 3)


def test_a_topic_with_a_retention_of_its_own_is_not_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "KEPT_EMPTY_TOPICS", 0)
    append("a", "b")
    Topic.objects.filter(name="a").update(retention_events=0)
    Topic.objects.filter(name="b").update(retention_seconds=0)
    while retention.prune():
        pass
    assert Topic.objects.count() == 2
    (event,) = append("a")
    assert event.previous == 1


# --- anything that may happen -----------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_whoever_is_not_reset_has_missed_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Against a model that remembers every event: whatever is published, pruned, deleted."""
    chance = random.Random(seed)
    monkeypatch.setattr(retention, "KEPT_EMPTY_TOPICS", chance.choice([0, 1, 3]))
    monkeypatch.setattr(retention, "PRUNE_EVENTS", chance.choice([3, 500]))
    monkeypatch.setattr(log, "PAGE_EVENTS", chance.choice([2, 500]))
    monkeypatch.setattr(replay, "MAX_TOPICS_ASKED", chance.choice([1, 100]))
    published: list[Event] = []
    for _ in range(25):
        settings.FEED_RETENTION_EVENTS = chance.choice([0, 1, 2, 5])
        published += append(*chance.choices(NAMES, k=chance.randint(1, 6)))
        for _ in range(chance.randint(0, 3)):
            retention.prune()
        interest = chance.choice(list(interests()))
        since = chance.randint(0, len(published))
        if not is_reset(interest, since):
            assert numbers(interest, since) == [
                event.number
                for event in published[since:]
                if interest.matches(event.topic)
            ]
    latest: dict[str, int] = {}
    for event in published:
        assert event.previous in (latest.get(event.topic), None)
        latest[event.topic] = event.number
