"""What operators ask of all nodes: readers, deliveries and receipts, added up."""

import time

import pytest

from echo.feed import Event, Subscription, count_deliveries
from echo.feed.cluster import CountDeliveries, CountReaders, GetReceipt, Receipt
from echo.feed.cluster.survey import Question
from echo.feed.log import Entry
from echo.feed.node import Node
from echo.models import Event as EventRow
from echo.tests.feed.reading import append, read, subscribe, write

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])


async def write_in_admin(topic: str = "news") -> Event:
    """Commit an event of the admin's, and ring no doorbell."""
    events, _ = await append([Entry(topic, "1", source=EventRow.Source.ADMIN)])
    event: Event = events[0]
    return event


async def send(subscription: Subscription) -> None:
    """Read all that is due, and count it as a transport does."""
    count_deliveries(await read(subscription))


async def receipt(node: Node, event: Event) -> Receipt:
    return (await node.cluster.surveys.ask(GetReceipt(str(event.id)))).result


async def test_readers_of_a_topic_are_counted_on_every_node(
    nodes: tuple[Node, Node],
) -> None:
    for node, pattern in [(0, "news"), (0, "news.*"), (1, "*"), (1, "other")]:
        await subscribe(nodes[node], pattern)
    answer = await nodes[0].cluster.surveys.ask(
        CountReaders(("news", "news.eu", "none.here"))
    )
    assert answer.result == {"news": 2, "news.eu": 2, "none.here": 1}
    assert answer.unresponsive == []


async def test_deliveries_are_added_up_and_unknown_events_left_out(
    nodes: tuple[Node, Node],
) -> None:
    for node in nodes:
        await subscribe(node)
        await subscribe(node)
    for event in await write("news", "news"):
        for node in nodes:
            node.relay.receive_events([event])
    answer = await nodes[1].cluster.surveys.ask(CountDeliveries((1, 2, 77)))
    assert answer.result == {1: 4, 2: 4}


async def test_deliveries_of_a_counted_event_are_exact(node: Node) -> None:
    readers = [await subscribe(node) for _ in range(3)]
    node.relay.receive_events([await write_in_admin()])
    await send(readers[0])
    answer = await node.cluster.surveys.ask(CountDeliveries((1,)))
    assert answer.result == {1: 1}


async def test_a_receipt_counts_each_hand_over(node: Node) -> None:
    readers = [await subscribe(node) for _ in range(3)]
    event = await write_in_admin()
    committed_at = time.time()
    node.relay.receive_events([event], committed_at)
    before = await receipt(node, event)
    assert (before.offered, before.delivered) == (3, 0)
    assert (before.waiting, before.catching_up) == (3, 0)
    assert before.seconds is None
    await send(readers[0])
    await send(readers[1])
    meanwhile = await receipt(node, event)
    assert (meanwhile.delivered, meanwhile.waiting) == (2, 1)
    await send(readers[2])
    after = await receipt(node, event)
    assert (after.offered, after.delivered, after.waiting) == (3, 3, 0)
    assert meanwhile.seconds is not None
    assert after.seconds is not None
    assert after.seconds >= meanwhile.seconds >= 0
    assert after.seconds <= time.time() - committed_at


async def test_a_receipt_is_of_all_nodes(nodes: tuple[Node, Node]) -> None:
    readers = [await subscribe(node) for node in nodes for _ in range(2)]
    event = await write_in_admin()
    for node in nodes:
        node.relay.receive_events([event])
    for reader in readers:
        await send(reader)
    survey = await nodes[0].cluster.surveys.ask(GetReceipt(str(event.id)))
    answer = survey.result
    assert (answer.offered, answer.delivered, answer.waiting) == (4, 4, 0)
    assert survey.nodes == sorted(node.name for node in nodes)


async def test_a_reader_served_from_the_log_is_waited_for(node: Node) -> None:
    reader = await subscribe(node)
    reader.fall_behind()
    event = await write_in_admin()
    node.relay.receive_events([event])
    behind = await receipt(node, event)
    assert (behind.offered, behind.delivered, behind.waiting) == (1, 0, 1)
    assert behind.catching_up == 1
    await send(reader)
    done = await receipt(node, event)
    assert (done.delivered, done.waiting) == (0, 0)


async def test_a_replay_does_not_count_twice(node: Node) -> None:
    first = await subscribe(node)
    event = await write_in_admin()
    node.relay.receive_events([event])
    await send(first)
    second = await subscribe(node)
    node.relay.receive_events([later := await write_in_admin()])
    await send(first)
    late = await subscribe(node, since="earliest")
    assert (await receipt(node, later)).waiting == 1  # the second, not the newcomer
    await send(late)
    answer = await receipt(node, event)
    assert (answer.delivered, answer.waiting) == (1, 0)
    assert (await receipt(node, later)).delivered == 1
    await send(second)
    assert (await receipt(node, later)).delivered == 2


async def test_an_event_of_another_source_has_no_receipt(node: Node) -> None:
    await subscribe(node)
    (event,) = await write("news")
    node.relay.receive_events([event])
    assert not (await receipt(node, event)).is_known
    other = await node.cluster.surveys.ask(GetReceipt("00000000-1"))
    assert not other.result.is_known


async def test_the_admins_event_is_counted_when_the_log_tells_of_it(
    node: Node,
) -> None:
    reader = await subscribe(node)
    event = await write_in_admin()
    await node.relay.catch_up()
    node.relay.receive_events([event], committed_at=1.0)  # the doorbell is late
    await send(reader)
    answer = await receipt(node, event)
    assert answer.delivered == 1
    assert answer.seconds is not None
    assert answer.seconds > 1.0


async def test_a_counted_event_is_still_encoded_once(node: Node) -> None:
    readers = [await subscribe(node) for _ in range(3)]
    node.relay.receive_events([await write_in_admin()])
    frames = [frame for reader in readers for frame in await read(reader)]
    assert len({id(frame.message) for frame in frames}) == 1
    assert len({id(frame.sse) for frame in frames}) == 1


def test_a_question_survives_its_journey() -> None:
    question = CountReaders(("news", "news.eu"))
    assert Question.unpack(question.packed()) == question
