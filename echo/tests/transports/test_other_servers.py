"""The feed under a server that offers no extensions: Daphne as it comes."""

import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from echo.tests.live import LiveSite
from echo.tests.transports.adapters import TRANSPORTS, take, take_data
from echo.tests.transports.conftest import ENVIRONMENT, FeedSite, prepare

STOCK = [sys.executable, "-m", "daphne", "-p", "{port}", "wsdemo.asgi:application"]


@pytest.fixture(scope="module")
def stock_site(tmp_path_factory: pytest.TempPathFactory) -> Any:
    live = LiveSite("daphne", tmp_path_factory.mktemp("stock"), **ENVIRONMENT)
    live.command = [part.format(port=live.port) for part in STOCK]
    site = prepare(live)
    with live:
        yield site
    assert "Traceback" not in live.log, live.log


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_lost(stock_site: FeedSite, transport: str) -> None:
    open_stream: Callable[..., Any] = TRANSPORTS[transport]
    topic = f"stock.{transport}"
    with closing(open_stream(stock_site.live, topic)) as stream:
        stock_site.publish(topic, *range(20))
        assert take_data(stream, 20) == list(range(20))
        for number in range(5):
            (last,) = stock_site.publish(topic, number)
            assert take_data(stream, 1) == [number]
    missed = stock_site.publish(topic, "a", "b")
    with closing(open_stream(stock_site.live, topic, since=last)) as stream:
        assert [event["id"] for event in take(stream, 2)] == missed
