"""Doorbells that are dropped, late, out of order, or never rung: the log makes up for them."""

import asyncio
from contextlib import AsyncExitStack, suppress

import httpx

from echo.tests.survival.backends import Redis
from echo.tests.survival.conftest import Report, Size, Start
from echo.tests.survival.publishers import Publisher, publish_over_http, race
from echo.tests.survival.reader import Reader, settled


async def test_dropped_late_and_reordered_doorbells_cost_nothing_but_time(
    start: Start, redis: Redis, unwatched_url: str, size: Size, report: Report
) -> None:
    unreliable = {
        "REDIS_URL": redis.url,
        "DJANGO_SETTINGS_MODULE": "echo.tests.survival.settings_unreliable",
    }
    nodes = [start(s, unwatched_url, **unreliable) for s in ("daphne", "uvicorn")]
    events = size(150, 5000)
    data = [[f"{part}-{n}" for n in range(events)] for part in range(4)]
    published = {one for part in data for one in part}
    async with AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(Reader([node], transport))
            for node in nodes
            for transport in ("websocket", "sse")
        ]
        await asyncio.to_thread(race, nodes[0], data, ("news",) * 4)
        figures = await settled(readers, published)
    report(f"{len(readers)} readers, {len(published)} events", figures)


async def test_a_node_killed_between_commit_and_doorbell_has_published(
    start: Start, redis: Redis, unwatched_url: str, report: Report
) -> None:
    healthy = start("daphne", unwatched_url, REDIS_URL=redis.url)
    doomed = start(
        "uvicorn",
        unwatched_url,
        REDIS_URL=redis.url,
        DJANGO_SETTINGS_MODULE="echo.tests.survival.settings_deadly",
    )
    published = {"first", "last words", "after"}
    async with Reader([healthy]) as other, Reader([doomed, healthy]) as orphan:
        with Publisher(healthy) as publisher:
            publisher.publish("first")
            await settled([other, orphan], {"first"})
            # The answer and the kill race: either may come first.
            with suppress(httpx.TransportError):
                await publish_over_http(doomed, "last words")
            publisher.publish("after")
            figures = await settled([other, orphan], published)
    report("2 readers, 3 events", figures)
    assert orphan.close_codes == [1006]
    assert orphan.connects == 2
