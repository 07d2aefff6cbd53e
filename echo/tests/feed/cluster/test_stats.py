"""What the feed does each second, and that it is published only for those who watch."""

import asyncio
import io
import time
from collections import Counter
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command

from echo.feed import Reader, count_deliveries
from echo.feed.cluster import STATS_TOPIC, NodeState
from echo.feed.cluster.stats import summarize
from echo.feed.node import Node
from echo.feed.tallies import delay_step, percentile
from echo.models import Event as EventRow
from echo.tests.feed.reading import read, subscribe, until, write
from echo.tests.live import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])

STAFF = Reader(user_id="1", is_staff=True, username="ann")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds that take no time."""
    monkeypatch.setattr("echo.feed.cluster.stats.TURN_SECONDS", 0.001)


async def until_published() -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await EventRow.objects.aexists():  # noqa: ASYNC110 -- asks a database
            await asyncio.sleep(0.001)


async def test_a_nodes_figures_are_those_of_its_last_second(node: Node) -> None:
    for _ in range(3):
        await subscribe(node)
    node.relay.receive_events(await write("news", "news"))
    node.cluster.stats.turned_at = time.monotonic() - 2
    node.cluster.stats.turn()
    figures = node.cluster.stats.state()
    assert figures.events_per_second == pytest.approx(1, abs=0.2)
    assert figures.deliveries_per_second == pytest.approx(3, abs=0.5)
    node.cluster.stats.turn()
    assert node.cluster.stats.state().events_per_second == 0


async def test_connections_are_counted_by_transport(node: Node) -> None:
    first = await subscribe(node)
    await subscribe(node)
    assert node.cluster.stats.state().transports == {"test": 2}
    first.close()
    first.close()
    assert node.cluster.stats.state().transports == {"test": 1}


@pytest.mark.parametrize("pattern", ["staff.*", "*"])
async def test_only_who_reads_exactly_this_topic_watches(
    node: Node, pattern: str
) -> None:
    await subscribe(node, pattern, reader=STAFF)
    assert node.cluster.stats.watchers == 0
    watcher = await subscribe(node, STATS_TOPIC, reader=STAFF)
    assert node.cluster.stats.watchers == 1
    watcher.close()
    assert node.cluster.stats.watchers == 0


async def test_figures_are_published_while_somebody_watches_and_no_longer(
    node: Node, quick: None
) -> None:
    keeping = asyncio.create_task(node.cluster.stats.keep_counting())
    # A second passes: a turn is the whole of a round with nobody to tell.
    turned_at = node.cluster.stats.turned_at
    await until(lambda: node.cluster.stats.turned_at > turned_at)
    assert not await EventRow.objects.aexists()
    watcher = await subscribe(node, STATS_TOPIC, reader=STAFF)
    await until_published()
    await node.relay.catch_up()
    assert (await read(watcher))[0].type == "event"
    watcher.close()
    turned_at = node.cluster.stats.turned_at
    await until(lambda: node.cluster.stats.turned_at > turned_at)
    published = await EventRow.objects.acount()
    turned_at = node.cluster.stats.turned_at
    await until(lambda: node.cluster.stats.turned_at > turned_at)
    assert await EventRow.objects.acount() == published
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_one_node_publishes_for_all(
    nodes: tuple[Node, Node], quick: None
) -> None:
    await subscribe(nodes[0], STATS_TOPIC, reader=STAFF)
    for node in nodes:
        await node.cluster.send_pulse()
    keeping = [
        asyncio.create_task(node.cluster.stats.keep_counting()) for node in nodes
    ]
    await until_published()
    for task in keeping:
        task.cancel()
    await asyncio.gather(*keeping, return_exceptions=True)
    events = [row async for row in EventRow.objects.all()]
    assert {row.topic for row in events} == {STATS_TOPIC}
    first, second = sorted(node.name for node in nodes)
    assert all(f'"{first}"' in row.data and f'"{second}"' in row.data for row in events)


async def test_the_figures_own_events_are_not_counted(node: Node) -> None:
    await subscribe(node, STATS_TOPIC, reader=STAFF)
    node.relay.receive_events(await write(STATS_TOPIC))
    assert (node.hub.tallies.event_count, node.hub.tallies.offer_count) == (0, 0)


async def test_one_event_a_second_is_timed_while_somebody_watches(
    node: Node,
) -> None:
    reader = await subscribe(node)
    node.hub.tallies.wants_sample = True
    for event in await write("news", "news"):
        node.relay.receive_events([event])
        count_deliveries(await read(reader))
    node.cluster.stats.turn()
    assert node.cluster.stats.delays.total() == 1
    node.cluster.stats.turn()
    assert node.cluster.stats.delays.total() == 0


def test_a_percentile_is_the_delay_that_so_many_do_not_exceed() -> None:
    delays: Counter[int] = Counter()
    for milliseconds in range(1, 101):
        delays[delay_step(milliseconds / 1000)] += 1
    assert percentile(delays, 0.5) == pytest.approx(50, rel=0.1)
    assert percentile(delays, 0.99) == pytest.approx(99, rel=0.1)
    assert percentile(Counter(), 0.5) is None


async def test_all_nodes_see_the_same_events_and_each_its_own_deliveries(
    node: Node,
) -> None:
    def state(name: str, events: float, deliveries: float, delay: int) -> NodeState:
        return replace(
            node.cluster.stats.state(),
            node=name,
            events_per_second=events,
            deliveries_per_second=deliveries,
            connections=10,
            delays=[[delay_step(delay / 1000), 50]],
        )

    site = summarize([state("a", 5, 50, 1), state("b", 4, 40, 100)])
    assert site["nodes"] == ["a", "b"]
    assert site["events_per_second"] == 5
    assert site["deliveries_per_second"] == 90
    assert site["connections"] == 20
    assert site["delay_p50_ms"] == pytest.approx(1, rel=0.1)
    assert site["delay_p99_ms"] == pytest.approx(100, rel=0.1)


async def test_whoever_leaves_is_no_longer_counted(node: Node) -> None:
    first, second = await subscribe(node), await subscribe(node)
    assert len(node.hub.readers("news")) == 2
    first.close()
    second.close()
    assert len(node.hub.readers("news")) == 0
    assert not node.hub.by_pattern


async def test_every_models_table_can_be_read(transactional_db: None) -> None:
    await sync_to_async(call_command)("dumpdata", "echo", stdout=io.StringIO())
