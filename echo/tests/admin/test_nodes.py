"""Nodes in the admin: permissions, what a row shows, and where the graph starts."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.test import AsyncClient
from django.utils import timezone
from pytest_django import Settings

from echo.admin import nodes
from echo.feed import Reader, apublish
from echo.feed.cluster import STATS_TOPIC
from echo.feed.node import Node
from echo.models import Event
from echo.protocol import EventId
from echo.tests.admin.operators import sign_in
from echo.tests.feed.reading import subscribe
from echo.tests.live import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/admin/echo/node/"
FRAGMENT = {"X-Fragment": "1"}
IMPORT = re.compile(r"""\bfrom\s*["'](\.[^"']+)""")
HASHED = re.compile(r"\.[0-9a-f]{12}\.js$")
ROW = re.compile(r'<tr data-id="([^"]+)">(.*?)</tr>')
START = re.compile(r'<script id="start" type="application/json">(.*?)</script>')


async def get(client: AsyncClient, **headers: Any) -> str:
    """Return the page's HTML; it must be allowed."""
    response = await client.get(URL, **headers)
    assert response.status_code == 200
    return str(response.content.decode())


async def table(client: AsyncClient) -> str:
    """Return the table's HTML with its white space squeezed."""
    return re.sub(r"\s+", " ", await get(client, headers=FRAGMENT))


def hear(here: Node, **fields: Any) -> None:
    """Add another node to those that a node knows, with this state."""
    state = replace(here.cluster.stats.state(), **{"node": "other", **fields})
    here.cluster.presence.known["other"] = here.loop.time(), state


def begin(page: str) -> dict[str, Any]:
    """Return what the page's script starts with."""
    found = START.search(page)
    assert found is not None
    start: dict[str, Any] = json.loads(found[1])
    return start


# --- permissions -----------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
async def test_the_page_needs_the_permission_to_view(
    async_client: AsyncClient, node: Node, headers: dict[str, str]
) -> None:
    await sign_in(async_client, "view_node")
    assert (await async_client.get(URL, headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
@pytest.mark.parametrize("permission", ["view_event", "view_connection"])
async def test_other_permissions_are_refused(
    async_client: AsyncClient, permission: str, headers: dict[str, str]
) -> None:
    await sign_in(async_client, permission)
    assert (await async_client.get(URL, headers=headers)).status_code == 403


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
async def test_a_visitor_is_sent_to_sign_in(
    async_client: AsyncClient, headers: dict[str, str]
) -> None:
    response = await async_client.get(URL, headers=headers)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("permission", ["view_node", "view_event"])
async def test_the_admins_index_links_to_it_with_the_permission(
    async_client: AsyncClient, permission: str
) -> None:
    await sign_in(async_client, permission)
    index = (await async_client.get("/admin/")).content.decode()
    assert (URL in index) == (permission == "view_node")


@pytest.mark.parametrize("path", ["add/", "other/change/", "other/delete/"])
async def test_a_node_has_no_page_of_its_own(
    async_client: AsyncClient, path: str
) -> None:
    user = await User.objects.acreate_superuser("root")
    await async_client.aforce_login(user)
    assert (await async_client.get(URL + path)).status_code == 404


# --- what a row shows ----------------------------------------------------------------------


async def test_one_process_without_redis_is_one_node(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, "view_node")
    text = await table(async_client)
    assert re.findall(r'data-id="([^"]+)"', text) == [node.name]
    assert f'<span class="wire">{node.history.head}</span>' in text
    assert "at the head" in text
    assert "in memory" in text
    assert "1 node, 0 connections" in text


async def test_connections_are_counted_by_transport(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, "view_node")
    for _ in range(2):
        await subscribe(node)
    text = await table(async_client)
    assert '<span class="more">test&nbsp;2</span>' in text
    assert "1 node, 2 connections" in text


async def test_transports_have_short_names_in_their_narrow_column(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, "view_node")
    transports = {"websocket": 3, "sse": 12, "longpoll": 1, "shortpoll": 2}
    hear(node, transports=transports)
    named = re.findall(r'"more">([\w ]+)&nbsp;\d+<', await table(async_client))
    assert named == ["Long poll", "Short poll", "SSE", "WebSocket"]


async def test_a_node_links_to_its_connections_with_the_permission(
    async_client: AsyncClient, node: Node
) -> None:
    link = f'href="/admin/echo/connection/?node={node.name}"'
    await sign_in(async_client, "view_node", "view_connection")
    assert link in await table(async_client)
    user = await User.objects.aget()
    await user.user_permissions.aset(
        [await Permission.objects.aget(codename="view_node")]
    )
    assert link not in await table(async_client)


async def test_other_nodes_are_listed_until_they_are_gone(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, "view_node")
    head = f"{node.history.head.epoch}-0"
    hear(node, head=head, log="down", memory_bytes=None)
    for _ in range(9):
        await apublish("news", 1)
    text = await table(async_client)
    assert "2 nodes" in text
    row = text.partition('data-id="other"')[2]
    assert "9 behind" in row
    assert 'data-state="down"> down' in row
    assert "<div>–</div>" in row
    _, state = node.cluster.presence.known["other"]
    node.cluster.presence.known["other"] = float("-inf"), state
    node.cluster.presence.remove_gone()
    assert 'data-id="other"' not in await table(async_client)


async def test_events_since_a_nodes_report_do_not_count_as_behind(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, "view_node")
    head = f"{node.history.head.epoch}-0"
    hear(node, head=head, events_per_second=9)
    for _ in range(9):
        await apublish("news", 1)
    assert " behind" not in await table(async_client)


async def test_unreachable_nodes_are_mentioned(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, "view_node")
    assert "cannot be reached" not in await table(async_client)
    node.cluster.channel.reaches_others, node.cluster.channel.is_up = True, False
    assert "cannot be reached" in await table(async_client)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.6, "clock 0.6 s ahead"),
        (-0.6, "clock 0.6 s behind"),
        (-7200.04, "clock 7,200.0 s behind"),
    ],
)
async def test_a_clock_that_differs_is_told_beside_its_node(
    async_client: AsyncClient, node: Node, seconds: float, words: str
) -> None:
    await sign_in(async_client, "view_node")
    hear(node, clock_ahead_seconds=seconds)
    text = await table(async_client)
    rows = dict(ROW.findall(text))
    assert f'data-state="behind">{words}<' in rows["other"]
    assert "clock" not in rows[node.name]
    assert "clocks differ" in text


@pytest.mark.parametrize("seconds", [0.0, 0.5, -0.5])
async def test_clocks_that_hardly_differ_are_not_told_of(
    async_client: AsyncClient, node: Node, seconds: float
) -> None:
    await sign_in(async_client, "view_node")
    hear(node, clock_ahead_seconds=seconds)
    assert "clock" not in await table(async_client)


@pytest.mark.parametrize("field", ["node", "host", "server", "python", "channel_layer"])
async def test_what_another_node_tells_is_never_html(
    async_client: AsyncClient, node: Node, field: str
) -> None:
    await sign_in(async_client, "view_node", "view_connection")
    hostile = '"><script>alert(1)</script>'
    hear(node, **{field: hostile})
    text = await table(async_client)
    assert "2 nodes" in text
    assert "<script>alert" not in text


@pytest.mark.parametrize(
    ("head", "log", "events"),
    [
        ("aaaaaaaa-15", "aaaaaaaa-15", 0),
        ("aaaaaaaa-3", "aaaaaaaa-15", 12),
        ("aaaaaaaa-16", "aaaaaaaa-15", 0),  # it came between the two questions
        ("bbbbbbbb-15", "aaaaaaaa-15", None),
        ("aaaaaaaa-15", None, None),
    ],
)
def test_how_far_a_node_is_behind(
    head: str, log: str | None, events: int | None
) -> None:
    assert nodes.events_behind(head, EventId.parse(log) if log else None) == events


# --- where the graph starts ------------------------------------------------------------


async def test_without_figures_the_graph_begins_at_the_head(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, "view_node")
    published = await apublish("news", 1)
    start = begin(await get(async_client))
    assert start["since"] == published.id
    assert start["topic"] == STATS_TOPIC


async def test_the_graph_begins_before_the_first_figures_of_ten_minutes(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, "view_node")
    await apublish(STATS_TOPIC, {"nodes": ["long ago"]})
    long_ago = timezone.now() - timedelta(seconds=nodes.WINDOW_SECONDS + 1)
    await Event.objects.aupdate(sent_at=long_ago)
    before = await apublish("news", 1)
    await apublish(STATS_TOPIC, {"nodes": ["a"]})
    await apublish(STATS_TOPIC, {"nodes": ["a"]})
    since = begin(await get(async_client))["since"]
    assert since == before.id
    watcher = await subscribe(
        node, STATS_TOPIC, since=since, reader=Reader("1", is_staff=True)
    )
    assert len(await watcher.ready()) == 2


async def test_no_more_is_replayed_than_the_graph_shows(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_in(async_client, "view_node")
    monkeypatch.setattr(nodes, "WINDOW_SECONDS", 3)
    ids = [(await apublish(STATS_TOPIC, {"nodes": ["a"]})).id for _ in range(5)]
    assert begin(await get(async_client))["since"] == ids[1]


def test_the_page_and_the_server_mean_the_same_ten_minutes() -> None:
    module = ROOT / "echo" / "static" / "echo" / "admin" / "timeline.js"
    found = re.search(r"WINDOW_SECONDS = (\d+);", module.read_text())
    assert found is not None
    assert int(found[1]) == nodes.WINDOW_SECONDS


# --- its files -------------------------------------------------------------------------


def test_collected_modules_lead_to_one_another(
    settings: Settings, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path
    call_command("collectstatic", "--no-input", verbosity=0)
    names = staticfiles_storage.hashed_files  # type: ignore[attr-defined]
    left = [tmp_path / names["echo/admin/nodes.js"]]
    found: set[str] = set()
    while left:
        module = left.pop()
        found.add(module.name)
        paths = [module.parent / path for path in IMPORT.findall(module.read_text())]
        left += [path.resolve() for path in paths if path.name not in found]
    assert {name for name in found if not HASHED.search(name)} == set()
    assert any(name.startswith("uPlot.esm.") for name in found)
    assert (tmp_path / names["echo/vendor/uplot/uPlot.min.css"]).exists()
