"""The echo limits the connections of a process and of one address."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from echo.tests.live import COMMANDS, LiveSite, wait_until
from echo.tests.servers.frames import Connection, Refused

MAX_CONNECTIONS = 5
MAX_CONNECTIONS_PER_ADDRESS = 3


@pytest.fixture(scope="module", params=COMMANDS)
def small_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    with LiveSite(
        request.param,
        tmp_path_factory.mktemp(request.param),
        ECHO_MAX_CONNECTIONS=str(MAX_CONNECTIONS),
        ECHO_MAX_CONNECTIONS_PER_ADDRESS=str(MAX_CONNECTIONS_PER_ADDRESS),
    ) as site:
        yield site
    assert "Traceback" not in site.log, site.log


def opens(site: LiveSite, address: str = "127.0.0.1") -> Connection | None:
    """Return the connection, or None if it is refused."""
    try:
        return Connection(site.port, address=address)
    except Refused:
        return None


def test_connections_over_a_limit_are_refused_and_ended_ones_make_room(
    small_site: LiveSite,
) -> None:
    mine = [opens(small_site) for _ in range(MAX_CONNECTIONS_PER_ADDRESS)]
    assert all(mine)
    with pytest.raises(Refused, match="127.0.0.1 has its 3 connections: close") as over:
        Connection(small_site.port)
    assert over.value.status == 429
    assert over.value.headers["retry-after"] == "1"
    assert json.loads(over.value.body)["status_code"] == 429
    with pytest.raises(Refused, match="429"):
        Connection(small_site.port, "/echo?reject=418")
    others = [opens(small_site, f"127.0.0.{last}") for last in (2, 3)]
    assert all(others)
    with pytest.raises(Refused, match="this node has its 5 connections: try later"):
        Connection(small_site.port, address="127.0.0.4")
    for connection in (*mine, *others):
        assert connection is not None
        connection.socket.close()
    again = wait_until(lambda: opens(small_site), "the places to be free again")
    again.socket.close()


@pytest.mark.parametrize(
    "target", ["/echo?reject=418", "/echo?delay=nonsense", "/echo?drop_after=0"]
)
def test_refused_and_dropped_connections_keep_no_place(
    small_site: LiveSite, target: str
) -> None:
    for _ in range(2 * MAX_CONNECTIONS):
        with contextlib.suppress(Refused, EOFError):
            Connection(small_site.port, target).socket.close()
        wait_until(lambda: opens_and_closes(small_site), "a place")


def opens_and_closes(site: LiveSite) -> bool:
    connection = opens(site)
    if connection is not None:
        connection.socket.close()
    return connection is not None
