"""Four processes publish at once: one sequence, and everybody reads all of it in order."""

import asyncio
from contextlib import AsyncExitStack

from echo.tests.survival.backends import Redis
from echo.tests.survival.conftest import Report, Size, Start
from echo.tests.survival.publishers import Publisher, race
from echo.tests.survival.reader import Reader, settled

TOPICS = ("news.a", "news.b", "news.a", "sport")
# Publishes one event that stays, and one that dies, by turns.
ROLLING_BACK = """
from django.db import transaction
from echo.feed import publish
for number in range(50):
    publish("news", f"kept {number}")
    with transaction.atomic():
        publish("news", f"dead {number}")
        transaction.set_rollback(True)
"""


async def test_everybody_reads_what_four_processes_publish(
    start: Start, redis: Redis, database_url: str, size: Size, report: Report
) -> None:
    nodes = [start(s, database_url, REDIS_URL=redis.url) for s in ("daphne", "uvicorn")]
    events = size(150, 5000)
    data = [[f"{part}-{n}" for n in range(events)] for part in range(len(TOPICS))]
    published = {one for part in data for one in part}
    async with AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(Reader([node], transport))
            for node in nodes
            for transport in ("websocket", "sse")
        ]
        await asyncio.to_thread(race, nodes[0], data, TOPICS)
        figures = await settled(readers, published)
    report(f"{len(readers)} readers, {len(published)} events", figures)
    numbers = {identity.number for identity in readers[0].record.seen}
    assert numbers == set(range(1, len(published) + 1))


async def test_a_publish_that_rolls_back_is_never_seen_and_takes_no_number(
    start: Start, database_url: str, report: Report
) -> None:
    node = start("uvicorn", database_url)
    published = {f"kept {number}" for number in range(50)} | {"last"}
    async with Reader([node]) as reader:
        await asyncio.to_thread(node.manage, "shell", "-v0", "-c", ROLLING_BACK)
        with Publisher(node) as publisher:
            publisher.publish("last")
            figures = await settled([reader], published)
    report("50 rolled back", figures)
    assert set(reader.record.data) == published
    assert {identity.number for identity in reader.record.seen} == set(range(1, 52))
