"""Nodes that die, end and share the work: their readers go on elsewhere, and miss nothing."""

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack

from echo.tests.survival.backends import Redis
from echo.tests.survival.conftest import Report, Size, Start
from echo.tests.survival.publishers import Publisher
from echo.tests.survival.reader import Reader, eventually, settled

OPENING_AT_ONCE = 50


async def open_all(stack: AsyncExitStack, readers: list[Reader]) -> list[Reader]:
    """Open readers, some at a time; the stack closes them."""
    for begin in range(0, len(readers), OPENING_AT_ONCE):
        some = readers[begin : begin + OPENING_AT_ONCE]
        await asyncio.gather(*map(stack.enter_async_context, some))
    return readers


def transports(count: int) -> list[str]:
    """Return the transports: one in ten is Server-Sent Events."""
    return ["websocket" if number % 10 else "sse" for number in range(count)]


async def test_readers_of_a_killed_node_resume_on_another(
    start: Start, redis: Redis, server: str, unwatched_url: str, report: Report
) -> None:
    doomed = start(server, unwatched_url, REDIS_URL=redis.url)
    other = start("uvicorn", unwatched_url, REDIS_URL=redis.url)
    async with AsyncExitStack() as stack:
        publisher = stack.enter_context(Publisher(other))
        readers = await open_all(
            stack, [Reader([doomed, other], kind) for kind in transports(50)]
        )
        publisher.publish(*range(300))
        await eventually(lambda: readers[-1].record.seen, "the first event")
        await asyncio.to_thread(doomed.stop, signal.SIGKILL)
        publisher.publish(*range(300, 600))
        figures = await settled(readers, range(600))
    report(f"{len(readers)} readers, 600 events", figures)
    assert all(reader.connects == 2 for reader in readers)


async def test_a_thousand_readers_are_told_to_come_back_spread_out_and_miss_nothing(
    start: Start, redis: Redis, server: str, sqlite_url: str, report: Report
) -> None:
    ending = start(server, sqlite_url, REDIS_URL=redis.url)
    other = start("uvicorn", sqlite_url, REDIS_URL=redis.url)
    async with AsyncExitStack() as stack:
        publisher = stack.enter_context(Publisher(other))
        readers = await open_all(
            stack, [Reader([ending, other], kind) for kind in transports(1000)]
        )
        publisher.publish(*range(10))
        await eventually(lambda: readers[-1].record.seen, "the first event")
        await asyncio.to_thread(ending.stop)
        publisher.publish(*range(10, 20))
        figures = await settled(readers, range(20))
    byes = [reader.record.byes for reader in readers]
    assert all([bye["code"] for bye in said] == [4001] for said in byes)
    codes = Counter(code for reader in readers for code in reader.close_codes)
    assert codes == {4001: 900}
    returns = Counter(said[0]["retry_ms"] // 500 for said in byes)
    assert max(returns.values()) < len(readers) / 2
    busiest = max(returns.values())
    report("1000 readers, 20 events", figures, in_the_busiest_half_second=busiest)


async def test_readers_come_back_to_a_node_that_is_restarted(
    start: Start, server: str, sqlite_url: str, report: Report
) -> None:
    node = start(server, sqlite_url)
    async with AsyncExitStack() as stack:
        publisher = stack.enter_context(Publisher(node))
        readers = await open_all(
            stack, [Reader([node], kind) for kind in transports(50)]
        )
        publisher.publish("before")
        await settled(readers, {"before"})
        await asyncio.to_thread(node.stop)
        publisher.publish("meanwhile")
        await asyncio.to_thread(node.start)
        publisher.publish("after")
        figures = await settled(readers, {"before", "meanwhile", "after"})
    report("50 readers, 3 events", figures)


async def test_two_nodes_are_one_feed(
    start: Start, redis: Redis, postgres_url: str, size: Size, report: Report
) -> None:
    nodes = [start("uvicorn", postgres_url, REDIS_URL=redis.url) for _ in range(2)]
    events = size(200, 5000)
    async with AsyncExitStack() as stack:
        publishers = [stack.enter_context(Publisher(node)) for node in nodes]
        readers = await open_all(
            stack,
            [Reader([nodes[n % 2]], kind) for n, kind in enumerate(transports(50))],
        )
        publishers[0].publish(*range(events))
        publishers[1].publish(*range(events, 2 * events))
        figures = await settled(readers, range(2 * events), 120)
    report(f"50 readers, {2 * events} events", figures)
