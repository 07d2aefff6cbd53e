"""The market for visitors: one for a site, on whichever node, for as long as a node lives."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest

from echo.tests.lab.posting import Visitor
from echo.tests.live import LiveSite
from echo.tests.survival.conftest import Start
from echo.tests.transports.adapters import WebSocket, take_data

Ask = Callable[[LiveSite], dict[str, Any]]
END = "from echo.models import MarketLease; MarketLease.objects.update(held_until='2000-01-01T00Z')"


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Ask a node for a market, as a visitor's button does; return its answer."""
    with ExitStack() as visitors:

        def ask_one(site: LiveSite) -> dict[str, Any]:
            visitor = visitors.enter_context(Visitor(site, "/market/"))
            response = visitor.post("/market/start")
            assert response.status_code == 200, response.text
            return dict(response.json())

        yield ask_one


def test_two_nodes_that_are_asked_at_once_start_one_market(
    start: Start, server: str, database_url: str, ask: Ask
) -> None:
    nodes = [
        start(name, database_url, MARKET_FOR_VISITORS="on")
        for name in (server, "uvicorn")
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, nodes * 4))
    assert sorted(answer["started"] for answer in answers) == [False] * 7 + [True]
    assert len({answer["until"] for answer in answers}) == 1


def test_a_restart_ends_the_market_and_makes_room_for_another(
    start: Start, server: str, sqlite_url: str, ask: Ask
) -> None:
    first = start(server, sqlite_url, MARKET_FOR_VISITORS="on")
    second = start("uvicorn", sqlite_url, MARKET_FOR_VISITORS="on")
    assert ask(first)["started"]
    with closing(WebSocket(second, "market.ECHO")) as reader:
        assert take_data(reader, 2)[0]["simulated"]
    with closing(WebSocket(second, "market")) as reader:
        assert first.stop() in (0, -signal.SIGTERM)
        assert take_data(reader, 1) == [{"until": None}]
    assert ask(second)["started"]


def test_a_node_that_dies_makes_room_for_another(
    start: Start, sqlite_url: str, ask: Ask
) -> None:
    nodes = [start("uvicorn", sqlite_url, MARKET_FOR_VISITORS="on") for _ in range(2)]
    assert ask(nodes[0])["started"]
    nodes[0].stop(signal.SIGKILL)
    assert not ask(nodes[1])["started"]
    nodes[1].manage("shell", "-v0", "-c", END)  # as its lease does within 15 s
    assert ask(nodes[1])["started"]


def test_where_the_operator_does_not_allow_it_nobody_starts_one(
    start: Start, server: str, sqlite_url: str
) -> None:
    site = start(server, sqlite_url)
    with Visitor(site, "/market/") as visitor:
        response = visitor.post("/market/start")
    assert response.status_code == 403
    assert "MARKET_FOR_VISITORS" in response.json()["detail"]
    assert 'id="source"' in site.get("/market/").text
    assert "market/start" not in site.get("/market/").text
