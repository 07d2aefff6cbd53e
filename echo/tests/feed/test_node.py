"""A node with all its jobs, as a server has it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pytest_django import Settings

from echo.feed import apublish, doorbell, get_node
from echo.feed import node as node_module
from echo.feed import relay as module
from echo.feed.node import Node
from echo.protocol import EventId
from echo.tests.feed.reading import (
    Transcript,
    subscribe,
    write,
)
from echo.tests.live import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])


@pytest.fixture
async def running(transactional_db: None, settings: Settings) -> AsyncIterator[Node]:
    """This loop's node with all its jobs, as a server has it."""
    node = await get_node()
    yield node
    await node.stop()


async def test_a_publish_in_this_process_is_heard(running: Node) -> None:
    reader = await subscribe(running, "news")
    done = await apublish("news", "小王子")
    (event,) = await asyncio.wait_for(reader.next(), PATIENCE_SECONDS)
    assert (str(event.cursor), done.duplicate) == (done.id, False)


async def test_what_another_process_commits_is_found_without_a_doorbell(
    running: Node,
) -> None:
    reader = await subscribe(running, "news")
    await write("news")  # tells nobody, as a killed process would
    (event,) = await asyncio.wait_for(reader.next(), PATIENCE_SECONDS)
    assert event.cursor == running.history.head


async def test_a_look_that_fails_is_tried_again(
    running: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = await subscribe(running, "news")
    read_head = module.read_head
    failures: list[int] = []

    async def fail_twice() -> EventId:
        if len(failures) < 2:
            failures.append(1)
            raise OSError("the disk is gone")
        head: EventId = await read_head()
        return head

    monkeypatch.setattr(module, "read_head", fail_twice)
    await write("news")
    await asyncio.wait_for(reader.next(), PATIENCE_SECONDS)
    assert running.relay.is_log_up
    warnings = [r.message for r in caplog.records if "keep_watching" in r.message]
    assert len(warnings) == 1
    assert "the disk is gone" in warnings[0]


async def test_one_loop_has_one_relay_however_many_ask_at_once(running: Node) -> None:
    assert set(await asyncio.gather(*[get_node() for _ in range(5)])) == {running}


async def test_subscribers_and_publishers_at_work_lose_nothing(running: Node) -> None:
    reader = await subscribe(running, "news")
    transcript = Transcript(reader.position)
    publishers = [asyncio.create_task(apublish("news", number)) for number in range(40)]
    while len(transcript.seen) < 40:
        transcript.take(await asyncio.wait_for(reader.next(), PATIENCE_SECONDS))
    await asyncio.gather(*publishers)
    assert transcript.seen == list(range(1, 41))


async def test_a_node_that_has_stopped_leaves_nothing_behind(
    transactional_db: None,
) -> None:
    before = asyncio.all_tasks()
    node = await get_node()
    node.cluster.follow_log()
    await node.stop()
    assert asyncio.all_tasks() == before
    assert node not in node_module.nodes.values()
    assert node not in [listener for _, listener in doorbell.open_listeners()]


def test_nodes_of_closed_loops_are_forgotten(transactional_db: None) -> None:
    for _ in range(3):
        asyncio.run(get_node_once())
    assert len([loop for loop in node_module.nodes if loop.is_closed()]) <= 1


async def get_node_once() -> None:
    """Start this loop's node, which the loop's end leaves behind."""
    await get_node()
