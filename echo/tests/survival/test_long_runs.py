"""Many connections and many events leave nothing behind: no memory, task or membership."""

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from echo.tests.live import PATIENCE_SECONDS, LiveSite
from echo.tests.servers.test_backpressure import memory
from echo.tests.survival.backends import Redis
from echo.tests.survival.conftest import Report, Size, Start
from echo.tests.survival.counted import COUNTED, SPARE_FILES, counts
from echo.tests.survival.publishers import Publisher, flood
from echo.tests.survival.reader import Reader, settled

AT_ONCE = 50
EVENT_BYTES = 100
MAX_GROWTH_BYTES = 12 * 1024 * 1024
# The work is done in so many rounds. What leaks grows in each; a peak stays in one.
ROUNDS = 4


def leaked(sizes: Sequence[int]) -> int:
    """Return the bytes leaked, by the process's sizes before and after each round."""
    return ROUNDS * min(after - before for before, after in pairwise(sizes))


async def holdings(node: LiveSite, redis: Redis) -> dict[str, Any]:
    """Return what the process holds: tasks, subscriptions, open files, group memberships."""
    with redis.client() as client:
        channels = client.pubsub_numsub(*client.pubsub_channels())
    return {
        **await counts(node),
        "memberships": sorted(channels),
    }


async def holdings_with(
    node: LiveSite, redis: Redis, readers: int, before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the same, once it has no more than its readers and what it held before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        held = await holdings(node, redis)
        is_back = before is None or has_no_more(held, before)
        if held["subscriptions"] == readers and is_back:
            return held
        expected = f"expected {readers} readers and {before}"
        assert time.monotonic() < deadline, f"{expected}, got {held}"


def has_no_more(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Return True if nothing has been left behind."""
    return bool(
        now["memberships"] == before["memberships"]
        and now["tasks"] <= before["tasks"]
        and now["files"] <= before["files"] + SPARE_FILES
    )


async def visit(node: LiveSite, times: int) -> None:
    """Connect and leave so many times: some cut, some with a close frame."""
    for number in range(times):
        async with Reader([node], "websocket" if number % 5 else "sse"):
            pass


async def test_readers_that_come_and_go_leave_nothing_behind(
    start: Start, redis: Redis, server: str, sqlite_url: str, size: Size, report: Report
) -> None:
    visits = size(1000, 10_000)
    node = start(server, sqlite_url, REDIS_URL=redis.url, **COUNTED)
    assert node.process is not None
    async with Reader([node]) as witness:
        await asyncio.gather(*(visit(node, 5) for _ in range(AT_ONCE)))
        held = await holdings_with(node, redis, readers=1)
        sizes = [memory(node.process.pid, "VmRSS")]
        share = visits // AT_ONCE // ROUNDS
        for _ in range(ROUNDS):
            await asyncio.gather(*(visit(node, share) for _ in range(AT_ONCE)))
            now = await holdings_with(node, redis, readers=1, before=held)
            sizes.append(memory(node.process.pid, "VmRSS"))
        with Publisher(node) as publisher:
            publisher.publish("still there")
            figures = await settled([witness], {"still there"})
    growth = leaked(sizes)
    report(
        f"{visits} visits",
        figures,
        memory=f"+{growth / 1e6:.1f} MB",
        tasks=now["tasks"],
    )
    assert growth < MAX_GROWTH_BYTES


async def test_many_events_leave_nothing_behind(
    start: Start, redis: Redis, server: str, sqlite_url: str, size: Size, report: Report
) -> None:
    some, many = 5_000, size(20_000, 1_000_000)
    node = start(server, sqlite_url, REDIS_URL=redis.url, **COUNTED)
    assert node.process is not None
    async with Reader([node]) as one, Reader([node], "sse") as other:
        await asyncio.to_thread(flood, node, 0, some, EVENT_BYTES)
        await settled([one, other], range(some))
        held = await holdings_with(node, redis, readers=2)
        sizes = [memory(node.process.pid, "VmRSS")]
        share = many // ROUNDS
        for first in range(some, some + many, share):
            await asyncio.to_thread(flood, node, first, share, EVENT_BYTES)
            published = {f"{n} {'x' * EVENT_BYTES}" for n in range(first + share)}
            figures = await settled([one, other], published)
            sizes.append(memory(node.process.pid, "VmRSS"))
        await holdings_with(node, redis, readers=2, before=held)
    growth = leaked(sizes)
    report(
        f"2 readers, {some + many} events", figures, memory=f"+{growth / 1e6:.1f} MB"
    )
    assert growth < MAX_GROWTH_BYTES
