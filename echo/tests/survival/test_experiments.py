"""Visitors' experiments on the page Protocol leave nothing behind: no memory, task or socket."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
from websockets.asyncio.client import connect

from echo.lab.handshake_rules import EXAMPLES
from echo.protocol import TAP_PATH
from echo.tests.live import PATIENCE_SECONDS, LiveSite
from echo.tests.servers.test_backpressure import memory
from echo.tests.survival.conftest import Size, Start
from echo.tests.survival.counted import COUNTED, SPARE_FILES, counts

TAPPING = 5  # after so many experiments a visitor taps a connection
AT_ONCE = 4  # fewer than may run at once
MAX_GROWTH_BYTES = 12 * 1024 * 1024
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
PING_AND_CLOSE = "89 80 00 00 00 00 88 82 00 00 00 00 03 e8"
# Held back for longer than a visitor stays.
HANGING = "GET /echo?hang=10s HTTP/1.1"


def experiment(number: int, host: str) -> tuple[str, dict[str, Any]]:
    """Return the path and the settings of the experiment that this visitor runs."""
    example = EXAMPLES[number % len(EXAMPLES)].request
    request = example.format(host=host, origin=f"http://{host}", key=KEY)
    experiments: list[tuple[str, dict[str, Any]]] = [
        ("frames/send", {"hex": PING_AND_CLOSE}),
        ("handshake", {"request": request}),
        ("streams", {"count": 20, "size": 200}),
        ("updates", {"count": 5}),
        ("handshake", {"request": request.replace("GET /echo HTTP/1.1", HANGING)}),
        ("streams", {"count": 50, "pause": 100}),
    ]
    return experiments[number % len(experiments)]


async def run(client: httpx.AsyncClient, token: str, number: int) -> int:
    """Run one experiment; return its status, or 0 if the visitor has left before its end."""
    path, settings = experiment(number, client.base_url.netloc.decode())
    leaves = HANGING in settings.get("request", "") or "pause" in settings
    try:
        response = await client.post(
            f"/protocol/{path}",
            json=settings,
            headers={"X-CSRFToken": token},
            timeout=httpx.Timeout(
                PATIENCE_SECONDS, read=0.2 if leaves else PATIENCE_SECONDS
            ),
        )
    except httpx.ReadTimeout:
        return 0
    return response.status_code


async def visit(node: LiveSite, numbers: range) -> set[int]:
    """Run the experiments with these numbers one after the other; return their statuses."""
    async with httpx.AsyncClient(
        base_url=node.url, trust_env=False, timeout=PATIENCE_SECONDS
    ) as client:
        page = (await client.get("/protocol/")).text
        token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token, page
        statuses = set()
        for number in numbers:
            statuses.add(await run(client, token[1], number))
            if number % TAPPING == 0:
                await tap(node, is_polite=number % (2 * TAPPING) == 0)
        return statuses


async def tap(node: LiveSite, *, is_polite: bool) -> None:
    """Tap a connection of one's own; close both sockets, or cut them."""
    async with connect(f"{node.ws_url}/protocol/tap", proxy=None) as viewer:
        key = json.loads(await viewer.recv())["key"]
        address = f"{node.ws_url}{TAP_PATH}?tap={key}"
        async with connect(address, proxy=None) as tapped:
            await tapped.send("hello")
            assert await tapped.recv() == "hello"
            assert await viewer.recv()
            if not is_polite:
                tapped.transport.abort()
                viewer.transport.abort()


async def visits(node: LiveSite, times: int) -> set[int]:
    each = times // AT_ONCE
    found = await asyncio.gather(
        *(visit(node, range(at * each, (at + 1) * each)) for at in range(AT_ONCE))
    )
    return set().union(*found)


async def counts_after(node: LiveSite, before: dict[str, int]) -> dict[str, int]:
    """Return what the process holds once it is no more than before; fail if it stays more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        now = await counts(node)
        is_back = now["tasks"] <= before["tasks"]
        if is_back and now["files"] <= before["files"] + SPARE_FILES:
            return now
        assert time.monotonic() < deadline, f"expected {before}, got {now}"


async def test_experiments_leave_nothing_behind(
    start: Start,
    server: str,
    sqlite_url: str,
    size: Size,
    record_property: Callable[[str, object], None],
) -> None:
    times = size(60, 1000)
    node = start(server, sqlite_url, **COUNTED)
    assert node.process is not None
    held = await counts(node)
    await visits(node, 5 * AT_ONCE)  # what is made once: imports, threads, caches
    await counts_after(node, held)
    before = memory(node.process.pid, "VmRSS")
    statuses = await visits(node, times)
    now = await counts_after(node, held)
    growth = memory(node.process.pid, "VmRSS") - before
    assert statuses == {0, 200}
    record_property("after", f"{now} after {held}, +{growth / 1e6:.1f} MB")
    assert growth < MAX_GROWTH_BYTES
