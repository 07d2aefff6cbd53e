"""A race on a site of several nodes: reserved, read and started on different ones."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from echo.tests.lab.test_race import Visitor, next_event
from echo.tests.live import LiveSite
from echo.tests.survival.backends import Redis


@pytest.fixture
def nodes(redis: Redis, tmp_path: Path) -> Iterator[list[LiveSite]]:
    """Three nodes of one site, on both servers."""
    environment = {"REDIS_URL": redis.url}
    with (
        LiveSite("uvicorn", tmp_path, **environment) as first,
        LiveSite("daphne", tmp_path, **environment) as second,
        LiveSite("uvicorn", tmp_path, **environment) as third,
    ):
        yield [first, second, third]


async def test_any_node_starts_what_another_has_reserved(nodes: list[LiveSite]) -> None:
    first, second, third = nodes
    async with Visitor(first) as visitor, Visitor(third) as starter:
        reserved = await visitor.reserve(events=4, rate=20)
        race = reserved.json()
        feed = f"{first.ws_url}/feed/ws?topic={race['topic']}"
        stock = f"{second.ws_url}/transports/stock?race={race['id']}"
        async with connect(feed) as one, connect(stock) as other:
            await one.recv()  # hello
            assert (await starter.start(reserved)).status_code == 200
            for lane in (one, other):
                got = [await next_event(lane) for _ in range(4)]
                assert [event["index"] for event in got] == [0, 1, 2, 3]
        # Once for the whole site.
        again = await asyncio.gather(visitor.start(reserved), starter.start(reserved))
        assert [answer.status_code for answer in again] == [409, 409]
