"""Visitors' races leave nothing behind, whether they see the end or leave in the middle."""

import asyncio
import re
from collections.abc import Callable

import httpx
from websockets.asyncio.client import connect

from echo.tests.live import PATIENCE_SECONDS, LiveSite
from echo.tests.servers.test_backpressure import memory
from echo.tests.survival.conftest import Size, Start
from echo.tests.survival.counted import COUNTED, counts
from echo.tests.survival.test_experiments import counts_after

AT_ONCE = 4  # fewer than may run at once
MAX_GROWTH_BYTES = 12 * 1024 * 1024


async def visit(node: LiveSite, numbers: range) -> None:
    """Race once for each number; leave every other race in the middle."""
    async with httpx.AsyncClient(
        base_url=node.url, trust_env=False, timeout=PATIENCE_SECONDS
    ) as client:
        page = (await client.get("/transports/")).text
        token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token, page
        client.headers["X-CSRFToken"] = token[1]
        for number in numbers:
            await race(client, node, leaves=bool(number % 2))


async def race(client: httpx.AsyncClient, node: LiveSite, *, leaves: bool) -> None:
    settings = {"events": 100 if leaves else 5, "rate": 50}
    reserved = await client.post("/transports/races", json=settings)
    assert reserved.status_code == 200, reserved.text
    told = reserved.json()
    feed = f"{node.ws_url}/feed/ws?topic={told['topic']}"
    stock = f"{node.ws_url}/transports/stock?race={told['id']}"
    async with connect(feed, proxy=None) as one, connect(stock, proxy=None) as other:
        await one.recv()  # hello
        starting = client.post("/transports/races/start", json={"token": told["token"]})
        running = asyncio.create_task(starting)
        await one.recv()
        await other.recv()
        if not leaves:
            assert (await running).status_code == 200
            return
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        one.transport.abort()
        other.transport.abort()


async def visits(node: LiveSite, times: int) -> None:
    each = times // AT_ONCE
    await asyncio.gather(
        *(visit(node, range(at * each, (at + 1) * each)) for at in range(AT_ONCE))
    )


async def test_races_leave_nothing_behind(
    start: Start,
    server: str,
    sqlite_url: str,
    size: Size,
    record_property: Callable[[str, object], None],
) -> None:
    node = start(server, sqlite_url, **COUNTED)
    assert node.process is not None
    # What is made once: the feed's own tasks, imports, threads, caches.
    await visit(node, range(1))
    held = await counts(node)
    await visits(node, 5 * AT_ONCE)
    await counts_after(node, held)
    before = memory(node.process.pid, "VmRSS")
    await visits(node, size(40, 1000))
    now = await counts_after(node, held)
    growth = memory(node.process.pid, "VmRSS") - before
    record_property("after", f"{now} after {held}, +{growth / 1e6:.1f} MB")
    assert growth < MAX_GROWTH_BYTES
