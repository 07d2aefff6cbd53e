"""What a visitor could take from the others, or from the operator, on a running site."""

import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from django.db import OperationalError
from django.test import Client
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from echo.tests.lab.posting import Visitor
from echo.tests.live import COMMANDS, LiveSite, free_port


def test_one_address_cannot_hold_all_stock_lanes(tmp_path: Path) -> None:
    one, other = ({"X-Forwarded-For": f"192.0.2.{number}"} for number in (1, 2))
    with LiveSite("uvicorn", tmp_path) as site, ExitStack() as lanes:

        def open_lane(headers: dict[str, str]) -> None:
            url = f"{site.ws_url}/transports/stock?race={'A' * 22}"
            lane = connect(url, additional_headers=headers, proxy=None)
            lanes.enter_context(lane)

        for _ in range(10):
            open_lane(one)
        with pytest.raises(InvalidStatus) as refused:
            open_lane(one)
        assert refused.value.response.status_code == 429
        open_lane(other)


@pytest.mark.parametrize("server", COMMANDS)
def test_a_race_does_not_hold_up_a_shutdown(server: str, tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    with LiveSite(server, tmp_path) as site, Visitor(site, "/transports/") as visitor:
        race = visitor.post("/transports/races", events=450, rate=10).json()
        url = f"{site.ws_url}/feed/ws?topic={race['topic']}"
        with connect(url, proxy=None) as lane:
            assert "hello" in str(lane.recv())

            def start() -> None:
                token = race["token"]
                answers.append(visitor.post("/transports/races/start", token=token))

            racing = threading.Thread(target=start)
            racing.start()
            assert "event" in str(lane.recv())
            assert site.process is not None
            site.process.send_signal(signal.SIGTERM)
            racing.join()
        assert answers[0].status_code == 503
        assert "shutting down" in answers[0].json()["detail"]
        site.wait_for_end()
        assert "Traceback" not in site.log


@pytest.mark.parametrize("server", COMMANDS)
def test_a_stock_lane_without_redis_is_refused(server: str, tmp_path: Path) -> None:
    redis = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}"}
    with LiveSite(server, tmp_path, **redis) as site:
        url = f"{site.ws_url}/transports/stock?race={'A' * 22}"
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(url, proxy=None),
        ):
            pass
        assert refused.value.response.status_code == 503
        assert b"channel layer is down" in refused.value.response.body
        assert "Traceback" not in site.log


def test_the_market_opens_while_the_database_is_down(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OperationalError

    monkeypatch.setattr("echo.views.market.symbols.list_symbols", fail)
    response = client.get("/market/")
    assert response.status_code == 200
    assert b"ECHO" in response.content
