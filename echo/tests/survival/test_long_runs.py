"""Many connections and many events leave nothing behind: no memory, task or membership."""

import asyncio
import re
import signal
from pathlib import Path

from echo.tests.live import LiveSite
from echo.tests.servers.test_backpressure import memory
from echo.tests.survival.backends import Redis
from echo.tests.survival.conftest import Report, Size, Start
from echo.tests.survival.publishers import Publisher, flood
from echo.tests.survival.reader import Reader, eventually, settled

AT_ONCE = 50
EVENT_BYTES = 100
MAX_GROWTH_BYTES = 12 * 1024 * 1024
COUNTED = {"DJANGO_SETTINGS_MODULE": "echo.tests.survival.settings_counted"}


async def holdings(node: LiveSite, redis: Redis) -> dict[str, object]:
    """What the process has: tasks, subscriptions, open files, and its memberships."""
    assert node.process is not None
    told = node.log.count("holds ")
    node.process.send_signal(signal.SIGUSR1)
    await eventually(lambda: node.log.count("holds ") > told, "the process's answer")
    last = node.log.rpartition("holds ")[2].splitlines()[0]
    with redis.client() as client:
        channels = client.pubsub_numsub(*client.pubsub_channels())
    return {
        **dict(re.findall(r"(\w+)=(\d+)", last)),
        "files": len(list(Path(f"/proc/{node.process.pid}/fd").iterdir())),
        "memberships": sorted(channels),
    }


async def visit(node: LiveSite, times: int) -> None:
    """Comes and goes so many times, some by hanging up and some by closing politely."""
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
        await asyncio.gather(*(visit(node, 10) for _ in range(AT_ONCE)))
        held = await holdings(node, redis)
        before = memory(node.process.pid, "VmRSS")
        await asyncio.gather(*(visit(node, visits // AT_ONCE) for _ in range(AT_ONCE)))
        for _ in range(100):
            if (now := await holdings(node, redis)) == held:
                break
        growth = memory(node.process.pid, "VmRSS") - before
        with Publisher(node) as publisher:
            publisher.publish("still there")
            figures = await settled([witness], {"still there"})
    report(f"{visits} visits", figures, memory=f"+{growth / 1e6:.1f} MB", held=now)
    assert now == held
    assert growth < MAX_GROWTH_BYTES


async def test_many_events_leave_nothing_behind(
    start: Start, redis: Redis, server: str, sqlite_url: str, size: Size, report: Report
) -> None:
    some, many = 10_000, size(20_000, 1_000_000)
    node = start(server, sqlite_url, REDIS_URL=redis.url, **COUNTED)
    assert node.process is not None
    async with Reader([node]) as one, Reader([node], "sse") as other:
        await asyncio.to_thread(flood, node, 0, some, EVENT_BYTES)
        await settled([one, other], range(some))
        held = await holdings(node, redis)
        before = memory(node.process.pid, "VmRSS")
        await asyncio.to_thread(flood, node, some, many, EVENT_BYTES)
        published = {f"{n} {'x' * EVENT_BYTES}" for n in range(some + many)}
        figures = await settled([one, other], published)
        growth = memory(node.process.pid, "VmRSS") - before
        now = await holdings(node, redis)
    report(
        f"2 readers, {some + many} events", figures, memory=f"+{growth / 1e6:.1f} MB"
    )
    assert now == held
    assert growth < MAX_GROWTH_BYTES
