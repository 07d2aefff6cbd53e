"""A burst of messages over TCP and over a WebSocket, on both servers."""

from collections.abc import Iterator
from typing import Any

import pytest

from echo.tests.lab.posting import Visitor
from echo.tests.live import LiveSite


@pytest.fixture(scope="module")
def visitor(site: LiveSite) -> Iterator[Visitor]:
    with Visitor(site, "/protocol/") as visitor:
        yield visitor


def compare(visitor: Visitor, **settings: Any) -> Any:
    response = visitor.post("/protocol/streams", **settings)
    assert response.status_code == 200, response.text
    return response.json()


def test_tcp_joins_and_splits_messages_and_a_websocket_does_not(
    visitor: Visitor,
) -> None:
    result = compare(visitor, count=10, size=40, sizes="equal", buffer=64)
    assert result["messages"] == [40] * 10
    # 400 bytes that are written at once fill a buffer of 64 six times.
    assert result["tcp"]["reads"] == [64] * 6 + [16]
    assert result["websocket"]["messages"] == [40] * 10
    assert result["websocket"]["intact"] is True
    assert max(result["websocket"]["reads"]) <= 64


def test_nothing_is_lost_whatever_the_sizes_pauses_and_buffers(
    visitor: Visitor,
) -> None:
    for settings in (
        {"count": 1, "size": 1, "buffer": 1},
        {"count": 50, "size": 2048, "sizes": "equal", "buffer": 65536},
        {"count": 5, "size": 7, "sizes": "mixed", "pause": 5, "buffer": 3},
        {"count": 50, "size": 300, "buffer": 1000},
    ):
        result = compare(visitor, **settings)
        sizes = result["messages"]
        assert sum(result["tcp"]["reads"]) == sum(sizes)
        assert max(result["tcp"]["reads"]) <= settings["buffer"]
        assert result["websocket"]["messages"] == sizes
        assert result["websocket"]["intact"] is True
        # The server's frames have two bytes of head, or four from 126 bytes on.
        heads = sum(2 if size < 126 else 4 for size in sizes)
        assert sum(result["websocket"]["reads"]) == sum(sizes) + heads


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"count": 51}, "count: expected a number from 1 to 50"),
        ({"size": 0}, "size"),
        ({"size": "many"}, "size"),
        ({"pause": 101}, "pause"),
        ({"buffer": 65537}, "buffer"),
        ({"sizes": "other"}, "sizes: expected one of equal, mixed"),
        ({"count": 50, "size": 2048, "buffer": 1}, "at most 1000 reads"),
    ],
)
def test_a_burst_beyond_its_bounds_is_refused_with_the_reason(
    visitor: Visitor, settings: dict[str, Any], reason: str
) -> None:
    response = visitor.post("/protocol/streams", **settings)
    assert response.status_code == 400
    assert reason in response.json()["detail"]
