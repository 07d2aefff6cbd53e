"""Redis away, Redis back: sockets stay up, and events come from the log meanwhile."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from typing import Any

import pytest

from echo.tests.live import LiveSite
from echo.tests.survival.backends import Redis
from echo.tests.survival.conftest import Report, Size, Start
from echo.tests.survival.publishers import Publisher, publish_over_http
from echo.tests.survival.reader import Reader, eventually, settled

# The log is looked at every second; the rest is for a machine that is busy. A node that
# waited for a frozen Redis would wait for longer than the test.
MAX_LAG_SECONDS = 10.0
# An event that no doorbell rang for waits about a second for the next look.
DOORBELL_SECONDS = 0.5


def readiness(site: LiveSite) -> str:
    answer = site.get("/readyz")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


async def becomes(sites: list[LiveSite], status: str) -> None:
    """Wait until the status of each node is "ok" or "degraded"."""
    await eventually(
        lambda: {readiness(site) for site in sites} == {status}, f"all nodes {status}"
    )


def complaints(site: LiveSite) -> list[str]:
    """Return the warnings and errors about the channel layer in the node's log."""
    return [
        line
        for line in site.log.splitlines()
        if " WARNING " in line or " ERROR " in line
    ]


@contextmanager
def stopped(redis: Redis) -> Iterator[None]:
    redis.stop()
    yield
    redis.start()


@contextmanager
def frozen(redis: Redis) -> Iterator[None]:
    redis.freeze()
    yield
    redis.thaw()


async def publish_for(
    seconds: float, publisher: Publisher, readers: list[Reader], numbers: Iterator[int]
) -> None:
    """Publish one event after the other, each when all readers have the last one."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        number = next(numbers)
        publisher.publish(number)
        for reader in readers:
            await reader.has(number + 1)


@pytest.mark.parametrize("trouble", [stopped, frozen])
async def test_readers_notice_nothing_of_a_redis_that_goes_and_comes_back(
    start: Start,
    redis: Redis,
    unwatched_url: str,
    size: Size,
    report: Report,
    trouble: Any,
) -> None:
    nodes = [
        start(s, unwatched_url, REDIS_URL=redis.url) for s in ("daphne", "uvicorn")
    ]
    numbers = count()
    async with AsyncExitStack() as stack:
        publisher = stack.enter_context(Publisher(nodes[0]))
        readers = [
            await stack.enter_async_context(Reader([node], transport))
            for node in nodes
            for transport in ("websocket", "sse")
        ]
        await becomes(nodes, "ok")
        with trouble(redis):
            await publish_for(size(5, 10), publisher, readers, numbers)
            await becomes(nodes, "degraded")
        await publish_for(1, publisher, readers, numbers)
        await becomes(nodes, "ok")
        healed = len(readers[0].lags)
        await publish_for(1, publisher, readers, numbers)
        published = range(next(numbers))
        figures = await settled(readers, published)
    # The first event comes as soon as the last has been seen by all, so just after a look:
    # without a doorbell, one of the nodes waits a second for each.
    assert max(min(reader.lags[healed:]) for reader in readers) < DOORBELL_SECONDS
    lag = max(lag for reader in readers for lag in reader.lags)
    report(f"4 readers, {len(published)} events", figures, slowest=f"{lag:.2f} s")
    assert lag < MAX_LAG_SECONDS
    assert [reader.connects for reader in readers] == [1] * 4
    for node in nodes:
        assert len(complaints(node)) == 1, node.log


async def test_a_site_whose_redis_is_down_at_start_runs_and_heals(
    start: Start, redis: Redis, unwatched_url: str, report: Report
) -> None:
    redis.stop()
    nodes = [
        start(s, unwatched_url, REDIS_URL=redis.url) for s in ("daphne", "uvicorn")
    ]
    numbers = count()
    async with AsyncExitStack() as stack:
        publisher = stack.enter_context(Publisher(nodes[0]))
        readers = [await stack.enter_async_context(Reader([node])) for node in nodes]
        await publish_over_http(nodes[0], next(numbers))
        await publish_for(1, publisher, readers, numbers)
        await becomes(nodes, "degraded")
        await asyncio.to_thread(redis.start)
        await becomes(nodes, "ok")
        await publish_for(1, publisher, readers, numbers)
        published = range(next(numbers))
        figures = await settled(readers, published)
    report(f"2 readers, {len(published)} events", figures)
    assert [reader.connects for reader in readers] == [1, 1]
    for node in nodes:
        assert len(complaints(node)) == 1, node.log
