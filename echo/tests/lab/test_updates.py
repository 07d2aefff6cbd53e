"""What updates cost over HTTP and over a WebSocket, on both servers."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from echo.tests.lab.posting import Visitor
from echo.tests.live import LiveSite


@pytest.fixture(scope="module")
def visitor(site: LiveSite) -> Iterator[Visitor]:
    with Visitor(site, "/protocol/") as visitor:
        yield visitor


def costs(visitor: Visitor, **settings: Any) -> Any:
    response = visitor.post("/protocol/updates", **settings)
    assert response.status_code == 200, response.text
    return response.json()["costs"]


def test_connections_and_round_trips_are_counted(visitor: Visitor) -> None:
    counted = {
        name: (cost["connections"], cost["round_trips"])
        for name, cost in costs(visitor, count=5, size=10).items()
    }
    assert counted == {
        "new_connections": (5, 10),
        "keep_alive": (1, 6),
        # TCP, the handshake, the updates, and the close.
        "websocket": (1, 8),
    }


def test_an_update_costs_its_frame_over_a_websocket_and_two_heads_over_http(
    visitor: Visitor,
) -> None:
    """The cost of one more update, in which nothing of the opening is."""
    one, two = (costs(visitor, count=count, size=10) for count in (1, 2))
    more = {
        name: (
            two[name]["sent_bytes"] - one[name]["sent_bytes"],
            two[name]["received_bytes"] - one[name]["received_bytes"],
        )
        for name in one
    }
    # Two bytes of head, and a masking key of four in the client's.
    assert more["websocket"] == (2 + 4 + 10, 2 + 10)
    for name in ("keep_alive", "new_connections"):
        assert min(more[name]) > 200


@pytest.mark.parametrize("size", [0, 125, 126, 4096])
def test_every_size_within_the_bound_comes_back(visitor: Visitor, size: int) -> None:
    for cost in costs(visitor, count=2, size=size).values():
        assert cost["sent_bytes"] > 2 * size
        assert cost["received_bytes"] > 2 * size


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"count": 101}, "count: expected a number from 1 to 100"),
        ({"count": None}, "count"),
        ({"size": 4097}, "size: expected a number from 0 to 4096"),
    ],
)
def test_more_or_larger_updates_are_refused_with_the_reason(
    visitor: Visitor, settings: dict[str, Any], reason: str
) -> None:
    response = visitor.post("/protocol/updates", **settings)
    assert response.status_code == 400
    assert reason in response.json()["detail"]


def test_the_endpoint_gives_back_what_it_gets_up_to_its_bound(site: LiveSite) -> None:
    url = f"{site.url}/protocol/update"
    with httpx.Client(trust_env=False) as client:
        assert client.post(url, content=b"\0\xff").content == b"\0\xff"
        assert client.post(url, content=bytes(4097)).status_code == 413
        assert client.get(url).status_code == 405
