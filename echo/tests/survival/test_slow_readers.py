"""A reader that stops reading costs the node nothing, delays nobody, and misses nothing."""

import asyncio

import pytest

from echo.tests.servers.test_backpressure import forget_peak, memory
from echo.tests.survival.conftest import Report, Size, Start
from echo.tests.survival.publishers import flood
from echo.tests.survival.reader import Reader, settled

EVENT_BYTES = 300
# What the relay remembers and a queue holds; all that is published would be far more.
MAX_GROWTH_BYTES = 24 * 1024 * 1024
# A reader that waited for the slow one would wait for longer than the test.
MAX_LAG_SECONDS = 10.0


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_reader_that_stops_reading_is_served_at_its_own_pace(
    start: Start,
    server: str,
    sqlite_url: str,
    size: Size,
    report: Report,
    transport: str,
) -> None:
    events = size(10_000, 50_000)
    node = start(server, sqlite_url, FEED_RETENTION_EVENTS="100000")
    assert node.process is not None
    process = node.process.pid
    slow = Reader([node], transport, receive_buffer=4096)
    async with slow, Reader([node], transport) as other:
        await asyncio.to_thread(flood, node, 0, 3000, EVENT_BYTES)
        await settled([slow, other], range(3000))
        slow.reading.clear()
        forget_peak(process)
        before = memory(process)
        await asyncio.to_thread(flood, node, 3000, events, EVENT_BYTES)
        await other.has(3000 + events)
        behind = 3000 + events - len(slow.record.data)
        slow.reading.set()
        await slow.has(3000 + events, 120)
        growth = memory(process) - before
        published = {f"{n} {'x' * EVENT_BYTES}" for n in range(3000 + events)}
        figures = await settled([slow, other], published)
    lag = max(other.lags[3000:])
    report(
        f"{events} events",
        figures,
        behind=behind,
        memory=f"+{growth / 1e6:.1f} MB",
        other_waited=f"{lag:.2f} s",
    )
    assert behind > events / 2
    assert growth < MAX_GROWTH_BYTES
    assert lag < MAX_LAG_SECONDS
