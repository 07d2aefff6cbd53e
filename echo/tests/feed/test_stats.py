"""What the feed does each second, and that it is published only for those who watch."""

import asyncio
import io
from collections import Counter
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command

from echo.feed import STATS_TOPIC, Reader, Relay
from echo.feed.stats import summary
from echo.feed.tally import percentile, step
from echo.models import Event as EventRow
from echo.tests.feed.reading import read, subscribe, until, write

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])

STAFF = Reader(user_id="1", is_staff=True, username="ann")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds that take no time."""
    monkeypatch.setattr("echo.feed.stats.TURN_SECONDS", 0.001)


async def until_published() -> None:
    async with asyncio.timeout(10):
        while not await EventRow.objects.aexists():  # noqa: ASYNC110 -- asks a database
            await asyncio.sleep(0.001)


async def test_a_nodes_figures_are_those_of_its_last_second(relay: Relay) -> None:
    for _ in range(3):
        await subscribe(relay)
    relay.take(await write("news", "news"))
    relay.stats.turned_at -= 2
    relay.stats.turn()
    figures = relay.stats.describe()
    assert figures["events_per_second"] == pytest.approx(1, abs=0.2)
    assert figures["deliveries_per_second"] == pytest.approx(3, abs=0.5)
    relay.stats.turn()
    assert relay.stats.describe()["events_per_second"] == 0


async def test_connections_are_counted_by_transport(relay: Relay) -> None:
    first = await subscribe(relay)
    await subscribe(relay)
    assert relay.stats.describe()["transports"] == {"test": 2}
    first.close()
    first.close()
    assert relay.stats.describe()["transports"] == {"test": 1}


@pytest.mark.parametrize("pattern", ["staff.*", "*"])
async def test_only_who_reads_exactly_this_topic_watches(
    relay: Relay, pattern: str
) -> None:
    await subscribe(relay, pattern, reader=STAFF)
    assert relay.stats.watchers == 0
    watcher = await subscribe(relay, STATS_TOPIC, reader=STAFF)
    assert relay.stats.watchers == 1
    watcher.close()
    assert relay.stats.watchers == 0


async def test_figures_are_published_while_somebody_watches_and_no_longer(
    relay: Relay, quick: None
) -> None:
    keeping = asyncio.create_task(relay.stats.keep())
    # A second passes: a turn is the whole of a round with nobody to tell.
    turned_at = relay.stats.turned_at
    await until(lambda: relay.stats.turned_at > turned_at)
    assert not await EventRow.objects.aexists()
    watcher = await subscribe(relay, STATS_TOPIC, reader=STAFF)
    await until_published()
    await relay.catch_up()
    assert (await read(watcher))[0].type == "event"
    watcher.close()
    turned_at = relay.stats.turned_at
    await until(lambda: relay.stats.turned_at > turned_at)
    published = await EventRow.objects.acount()
    turned_at = relay.stats.turned_at
    await until(lambda: relay.stats.turned_at > turned_at)
    assert await EventRow.objects.acount() == published
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_one_node_publishes_for_all(
    nodes: tuple[Relay, Relay], quick: None
) -> None:
    await subscribe(nodes[0], STATS_TOPIC, reader=STAFF)
    for relay in nodes:
        await relay.nodes.send_pulse()
    keeping = [asyncio.create_task(relay.stats.keep()) for relay in nodes]
    await until_published()
    for task in keeping:
        task.cancel()
    await asyncio.gather(*keeping, return_exceptions=True)
    events = [row async for row in EventRow.objects.all()]
    assert {row.topic for row in events} == {STATS_TOPIC}
    first, second = sorted(relay.node for relay in nodes)
    assert all(f'"{first}"' in row.data and f'"{second}"' in row.data for row in events)


async def test_the_figures_own_events_are_not_counted(relay: Relay) -> None:
    await subscribe(relay, STATS_TOPIC, reader=STAFF)
    relay.take(await write(STATS_TOPIC))
    assert (relay.stats.events, relay.stats.deliveries) == (0, 0)


async def test_one_event_a_second_is_timed_while_somebody_watches(
    relay: Relay,
) -> None:
    reader = await subscribe(relay)
    relay.stats.samples = True
    for event in await write("news", "news"):
        relay.take([event])
        for frame in await read(reader):
            assert frame.message
    relay.stats.turn()
    assert relay.stats.delays.total() == 1
    relay.stats.turn()
    assert relay.stats.delays.total() == 0


def test_a_percentile_is_the_delay_that_so_many_do_not_exceed() -> None:
    delays: Counter[int] = Counter()
    for milliseconds in range(1, 101):
        delays[step(milliseconds / 1000)] += 1
    assert percentile(delays, 0.5) == pytest.approx(50, rel=0.1)
    assert percentile(delays, 0.99) == pytest.approx(99, rel=0.1)
    assert percentile(Counter(), 0.5) is None


def test_all_nodes_see_the_same_events_and_each_its_own_deliveries() -> None:
    def node(name: str, events: float, deliveries: float, delay: int) -> dict[str, Any]:
        return {
            "node": name,
            "events_per_second": events,
            "deliveries_per_second": deliveries,
            "connections": 10,
            "delays": [(step(delay / 1000), 50)],
        }

    site = summary([node("a", 5, 50, 1), node("b", 4, 40, 100)])
    assert site["nodes"] == ["a", "b"]
    assert site["events_per_second"] == 5
    assert site["deliveries_per_second"] == 90
    assert site["connections"] == 20
    assert site["delay_p50_ms"] == pytest.approx(1, rel=0.1)
    assert site["delay_p99_ms"] == pytest.approx(100, rel=0.1)


async def test_whoever_leaves_is_no_longer_counted(relay: Relay) -> None:
    first, second = await subscribe(relay), await subscribe(relay)
    assert await relay.stats.count_readers("news") == 2
    first.close()
    second.close()
    assert await relay.stats.count_readers("news") == 0
    assert not relay.stats.interests


async def test_every_models_table_can_be_read(transactional_db: None) -> None:
    await sync_to_async(call_command)("dumpdata", "echo", stdout=io.StringIO())
