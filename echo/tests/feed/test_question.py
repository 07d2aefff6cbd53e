"""What operators ask of all nodes: readers, deliveries and receipts, added up."""

import time
from typing import Any

import pytest

from echo.feed import Deliveries, Event, Readers, Receipt, Relay, Subscription
from echo.feed.log import Entry
from echo.feed.question import Question
from echo.models import Event as EventRow
from echo.tests.feed.reading import append, read, subscribe, write

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])


async def write_in_admin(topic: str = "news") -> Event:
    """Commits an event of the admin's, and rings no doorbell."""
    events, _ = await append([Entry(topic, "1", source=EventRow.Source.ADMIN)])
    event: Event = events[0]
    return event


async def send(subscription: Subscription, form: str = "message") -> None:
    """Reads all there is, as a transport does that sends it in this form."""
    for frame in await read(subscription):
        assert getattr(frame, form)


async def receipt(relay: Relay, event: Event) -> dict[str, Any]:
    return await relay.nodes.ask(Receipt(str(event.id)))


async def test_readers_of_a_topic_are_counted_on_every_node(
    nodes: tuple[Relay, Relay],
) -> None:
    for relay, pattern in [(0, "news"), (0, "news.*"), (1, "*"), (1, "other")]:
        await subscribe(nodes[relay], pattern)
    answer = await nodes[0].nodes.ask(Readers(("news", "news.eu", "none.here")))
    assert answer["readers"] == {"news": 2, "news.eu": 2, "none.here": 1}
    assert not nodes[0].readers_of  # nothing is remembered of what was only asked for
    assert answer["silent"] == []


async def test_deliveries_are_added_up_and_unknown_events_left_out(
    nodes: tuple[Relay, Relay],
) -> None:
    for relay in nodes:
        await subscribe(relay)
        await subscribe(relay)
    for event in await write("news", "news"):
        for relay in nodes:
            relay.take([event])
    answer = await nodes[1].nodes.ask(Deliveries((1, 2, 77)))
    assert answer["deliveries"] == {1: 4, 2: 4}


async def test_deliveries_of_a_counted_event_are_exact(relay: Relay) -> None:
    readers = [await subscribe(relay) for _ in range(3)]
    relay.take([await write_in_admin()])
    await send(readers[0])
    answer = await relay.nodes.ask(Deliveries((1,)))
    assert answer["deliveries"] == {1: 1}


@pytest.mark.parametrize("form", ["message", "sse", "polled"])
async def test_a_receipt_counts_each_hand_over(relay: Relay, form: str) -> None:
    readers = [await subscribe(relay) for _ in range(3)]
    event = await write_in_admin()
    committed_at = time.time()
    relay.take([event], committed_at)
    before = await receipt(relay, event)
    assert (before["offered"], before["delivered"]) == (3, 0)
    assert (before["waiting"], before["catching_up"]) == (3, 0)
    assert before["seconds"] is None
    await send(readers[0], form)
    await send(readers[1], form)
    meanwhile = await receipt(relay, event)
    assert (meanwhile["delivered"], meanwhile["waiting"]) == (2, 1)
    await send(readers[2], form)
    after = await receipt(relay, event)
    assert (after["offered"], after["delivered"], after["waiting"]) == (3, 3, 0)
    assert after["seconds"] >= meanwhile["seconds"] >= 0
    assert after["seconds"] <= time.time() - committed_at


async def test_a_receipt_is_of_all_nodes(nodes: tuple[Relay, Relay]) -> None:
    readers = [await subscribe(relay) for relay in nodes for _ in range(2)]
    event = await write_in_admin()
    for relay in nodes:
        relay.take([event])
    for reader in readers:
        await send(reader)
    answer = await receipt(nodes[0], event)
    assert (answer["offered"], answer["delivered"], answer["waiting"]) == (4, 4, 0)
    assert answer["nodes"] == sorted(relay.node for relay in nodes)


async def test_a_reader_served_from_the_log_is_waited_for(relay: Relay) -> None:
    reader = await subscribe(relay)
    reader.fall_behind()
    event = await write_in_admin()
    relay.take([event])
    behind = await receipt(relay, event)
    assert (behind["offered"], behind["delivered"], behind["waiting"]) == (1, 0, 1)
    assert behind["catching_up"] == 1
    await send(reader)
    done = await receipt(relay, event)
    assert (done["delivered"], done["waiting"]) == (0, 0)


async def test_a_replay_does_not_count_twice(relay: Relay) -> None:
    first = await subscribe(relay)
    event = await write_in_admin()
    relay.take([event])
    await send(first)
    second = await subscribe(relay)
    relay.take([later := await write_in_admin()])
    await send(first)
    late = await subscribe(relay, since="earliest")
    assert (await receipt(relay, later))["waiting"] == 1  # the second, not the newcomer
    await send(late)
    answer = await receipt(relay, event)
    assert (answer["delivered"], answer["waiting"]) == (1, 0)
    assert (await receipt(relay, later))["delivered"] == 1
    await send(second)
    assert (await receipt(relay, later))["delivered"] == 2


async def test_an_event_of_another_source_has_no_receipt(relay: Relay) -> None:
    await subscribe(relay)
    (event,) = await write("news")
    relay.take([event])
    assert not (await receipt(relay, event))["is_known"]
    assert not (await relay.nodes.ask(Receipt("00000000-1")))["is_known"]


async def test_the_admins_event_is_counted_when_the_log_tells_of_it(
    relay: Relay,
) -> None:
    reader = await subscribe(relay)
    event = await write_in_admin()
    await relay.catch_up()
    relay.take([event], committed_at=1.0)  # the doorbell is late
    await send(reader)
    answer = await receipt(relay, event)
    assert answer["delivered"] == 1
    assert answer["seconds"] > 1.0


async def test_a_counted_event_is_still_encoded_once(relay: Relay) -> None:
    readers = [await subscribe(relay) for _ in range(3)]
    relay.take([await write_in_admin()])
    frames = [frame for reader in readers for frame in await read(reader)]
    assert len({id(frame.message) for frame in frames}) == 1
    assert len({id(frame.sse) for frame in frames}) == 1


def test_a_question_survives_its_journey() -> None:
    question = Readers(("news", "news.eu"))
    assert Question.unpack(question.packed()) == question
