"""What the nodes of one site tell each other over a Redis, and two sites do not."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from echo.tests.live import LiveSite, wait_until
from echo.tests.survival.backends import Redis
from echo.tests.transports.adapters import (
    Ended,
    WebSocket,
    ask,
    next_of,
    take_data,
)
from echo.tests.transports.conftest import FeedSite, prepare
from echo.tests.transports.people import make_person

ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "echo.tests.settings_operator",
    "FEED_JUDGE_SECONDS": "3600",
}
DEMOTE = """
from django.contrib.auth.models import User
user = User.objects.get(pk={id})
user.is_staff = False
user.save()
"""
Make = Callable[..., LiveSite]


@pytest.fixture
def make(redis: Redis, tmp_path: Path) -> Iterator[Make]:
    """Make a node: ``make("daphne", "site")``; those of one site share its database."""
    with ExitStack() as nodes:

        def make_one(server: str, site: str) -> LiveSite:
            directory = tmp_path / site
            directory.mkdir(exist_ok=True)
            live = LiveSite(server, directory, **ENVIRONMENT, REDIS_URL=redis.url)
            nodes.callback(lambda: live.process and live.stop())
            return live

        yield make_one


@pytest.fixture
def two_nodes(make: Make) -> tuple[FeedSite, LiveSite]:
    """A site of two nodes that know each other."""
    one, other = make("daphne", "site"), make("uvicorn", "site")
    site = prepare(one)
    for live in (one, other):
        live.start()
    with closing(WebSocket(one, "x")), closing(WebSocket(other, "x")):
        wait_until(lambda: count(one, "none") == 0 and knows(one, other), "the pulses")
    return site, other


def knows(one: LiveSite, other: LiveSite) -> bool:
    """Return True when a node ends the connections of the other."""
    with closing(WebSocket(other, "probe")):
        return count(one, "probe") == 1


def count(node: LiveSite, topic: str) -> int:
    """Ask the readers of a topic to reconnect, as an operator would; return how many."""
    asked = f"/end?topic={topic}&code=4011&reason=asked"
    return int(ask(node, asked).json()["ended"])


def test_two_sites_on_one_redis_do_not_see_each_other_s_connections(
    make: Make,
) -> None:
    sites = [prepare(make("daphne", "one")), prepare(make("uvicorn", "other"))]
    for site in sites:
        site.live.start()
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(closing(WebSocket(site.live, "news"))) for site in sites
        ]
        assert count(sites[0].live, "news") == 1
        assert next_of(sockets[0], "bye")["code"] == 4011
        sites[1].publish("news", "still here")
        assert take_data(sockets[1], 1) == ["still here"]


@pytest.mark.parametrize("by", ["sign-out", "another process"])
def test_rights_that_are_taken_away_on_one_node_end_at_once_on_another(
    two_nodes: tuple[FeedSite, LiveSite], by: str
) -> None:
    site, other = two_nodes
    person = make_person(site.live)
    with closing(WebSocket(other, "staff.x", cookie=person.cookie)) as socket:
        if by == "sign-out":
            person.sign_out()
        else:
            site.live.manage("shell", "-c", DEMOTE.format(id=person.id))
        site.publish("staff.x", "secret")
        assert socket.next()["code"] == 4507
        with pytest.raises(Ended) as end:
            socket.next()
        assert end.value.code == 4507


def test_the_nodes_of_a_site_stay_together_when_the_log_begins_a_new_life(
    two_nodes: tuple[FeedSite, LiveSite],
) -> None:
    site, other = two_nodes
    with closing(WebSocket(other, "x")) as socket:
        site.live.manage("renewlog")
        assert next_of(socket, "reset")["reason"] == "epoch"
    wait_until(lambda: knows(site.live, other), "the nodes to meet again")
    wait_until(lambda: knows(other, site.live), "the nodes to meet again")


SUPERUSER = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_superuser("boss"))
print(client.cookies["sessionid"].value)
"""
PAGES = ("/admin/echo/connection/", "/admin/echo/node/", "/admin/echo/topic/")
ONLY = b"This process only"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_reaches_no_other_says_so_on_each_page(
    tmp_path: Path, workers: int
) -> None:
    live = LiveSite("uvicorn", tmp_path, ("--workers", str(workers)))
    site = prepare(live)
    key = live.manage("shell", "-v0", "-c", SUPERUSER).strip()

    def told(path: str) -> bool:
        answer = ask(live, path, Cookie=f"sessionid={key}")
        assert answer.status == 200
        return ONLY in answer.body

    live.start()
    try:
        (event,) = site.publish("news", 1)
        receipt = f"/admin/echo/event/{event.partition('-')[2]}/receipt/"
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(closing(WebSocket(live, "news")))
            if workers > 1:
                wait_until(lambda: told(PAGES[0]), "both workers to have readers")
            pages = [*PAGES, receipt] * 5  # by one worker or the other
            assert [told(path) for path in pages] == [workers > 1] * len(pages)
    finally:
        live.stop()
