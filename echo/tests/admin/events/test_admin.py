"""The list of events and the page of one: complete, searchable, never changed."""

import re
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from echo.feed import apublish
from echo.feed import publish as feed_publish
from echo.feed.cluster import STATS_TOPIC
from echo.feed.node import Node
from echo.models import Event
from echo.tests.admin.events.pages import (
    ADD,
    GAPS,
    PUBLISH,
    SCRIPT,
    URL,
    VIEW,
    Degrade,
    Fields,
    get,
)
from echo.tests.admin.operators import sign_in
from echo.tests.feed.reading import subscribe, until

pytestmark = pytest.mark.django_db(transaction=True)
NEEDED = {
    "": {VIEW},
    "1/change/": {VIEW},
    "1/receipt/": {VIEW},
    "1/receipt/now/": {VIEW},
    "add/": {PUBLISH},
    "add/?again=1": {VIEW, PUBLISH},
    "readers/?topic=news": {PUBLISH},
}


async def test_the_list_shows_deliveries_while_nodes_remember_them(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    readers = [await subscribe(node, "news") for _ in range(3)]
    for number in range(2):
        await apublish("news", number)
    await until(lambda: len(readers[0].queue) == 2)
    node.hub.tallies.offered.popitem(last=False)
    page = await get(async_client, URL)
    assert re.findall(r'class="field-deliveries">([^<]*)<', page) == ["3", "–"]


@pytest.mark.parametrize(("gap", "where", "why"), GAPS)
@pytest.mark.parametrize("path", ["", "1/change/"])
async def test_incomplete_deliveries_are_marked(
    async_client: AsyncClient,
    node: Node,
    degrade: Degrade,
    path: str,
    gap: Fields,
    where: str,
    why: str,
) -> None:
    await sign_in(async_client, VIEW)
    reader = await subscribe(node, "news")
    await apublish("news", 1)
    await until(lambda: not reader.is_idle)
    assert "≥" not in await get(async_client, URL + path)
    degrade(**gap)
    page = unescape(await get(async_client, URL + path))
    assert ">≥ 1<" in page
    assert f'<li class="warning">{why}</li>' in page


@pytest.mark.parametrize(
    "query", ["topic", "source__exact", "author", "topic__exact", "data__contains"]
)
async def test_nul_is_rejected(
    async_client: AsyncClient, node: Node, query: str
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", 1)
    response = await async_client.get(f"{URL}?{query}=a%00b")
    assert (response.status_code, response["Location"]) == (302, f"{URL}?e=1")
    page = await get(async_client, response["Location"])
    assert "Null characters are not allowed." in page


async def test_an_event_is_found_by_its_id(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    for number in range(12):
        await apublish("news", number)
    page = await get(async_client, f"{URL}?q={node.history.head.epoch}-1")
    assert re.findall(rf'href="{URL}(\d+)/change/', page) == ["1"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=Müller", ["2"]),
        ("q=eve", ["3"]),
        ("topic=news.eu", ["2", "1"]),
        ("source__exact=command", ["3"]),
        ("topic=nowhere", []),
    ],
)
async def test_events_are_searched_and_filtered(
    async_client: AsyncClient, node: Node, query: str, found: list[str]
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news.eu", 1)
    await apublish("news.eu", "Frau Müller")
    await apublish("ops", 3, source=Event.Source.COMMAND, author="eve")
    page = await get(async_client, f"{URL}?{query}")
    assert re.findall(rf'href="{URL}(\d+)/change/', page) == found


def test_the_whole_log_is_not_counted_to_show_a_page_of_it(
    admin_client: Client,
) -> None:
    feed_publish("news", 1)
    feed_publish(STATS_TOPIC, 1)
    with CaptureQueriesContext(connection) as queries:
        assert admin_client.get(URL).status_code == 200
    asked = [query["sql"] for query in queries if "echo_event" in query["sql"]]
    assert len(asked) == 1
    assert not [sql for sql in asked if "COUNT" in sql or "DISTINCT" in sql]


async def test_the_graphs_events_are_listed_only_by_their_topic(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", "seen")
    await apublish(STATS_TOPIC, "a figure")
    page = await get(async_client, URL)
    assert "seen" in page
    assert "a figure" not in page
    assert "1 event" in page
    figures = await get(async_client, f"{URL}?topic={STATS_TOPIC}")
    assert "a figure" in figures


async def test_the_number_of_pages_follows_the_topics_counts(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    for number in range(101):
        await apublish(f"topic{number % 3}", number)
    page = await get(async_client, f"{URL}?p=2")
    assert re.findall(rf'href="{URL}(\d+)/change/', page) == ["1"]
    assert "101 events" in page


async def test_an_events_page_shows_all_its_fields(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", 1)
    await apublish("news", {"a": [SCRIPT]}, key="k", author="<b>eve")
    page = await get(async_client, f"{URL}2/change/")
    assert f">{node.history.head.epoch}-2<" in page
    assert f'href="{URL}1/change/"' in page
    pretty = '{\n  "a": [\n    "&lt;script&gt;alert(1)&lt;/script&gt;"\n  ]\n}'
    assert pretty.replace('"', "&quot;") in page
    assert "&lt;b&gt;eve" in page
    assert "35 bytes" in page


async def test_an_events_page_has_a_dash_for_missing_values(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", 1)
    await until(lambda: node.history.head.number == 1)
    node.hub.tallies.offered.clear()
    page = await get(async_client, f"{URL}1/change/")
    assert page.count('<div class="readonly">–</div>') == 2
    assert "None" not in page


@pytest.mark.parametrize("path", ["", "1/change/", "1/receipt/", "1/history/"])
async def test_publishers_texts_are_escaped(
    async_client: AsyncClient, node: Node, path: str
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    await apublish("news", SCRIPT, author=SCRIPT, key=SCRIPT)
    assert SCRIPT not in await get(async_client, URL + path)


async def test_events_are_never_changed_or_deleted(
    async_client: AsyncClient, node: Node
) -> None:
    user = await User.objects.acreate_superuser("root")
    await async_client.aforce_login(user)
    await apublish("news", 1)
    for path in ("1/change/", "1/delete/"):
        assert (await async_client.post(URL + path)).status_code == 403
    assert "delete_selected" not in await get(async_client, URL)


@pytest.mark.parametrize("path", NEEDED)
@pytest.mark.parametrize(
    "permissions", [(), (VIEW,), (PUBLISH,), (VIEW, PUBLISH)], ids="+".join
)
async def test_each_page_needs_its_permissions(
    async_client: AsyncClient, node: Node, path: str, permissions: tuple[str, ...]
) -> None:
    await sign_in(async_client, "view_node", *permissions)
    await apublish("news", 1)
    response = await async_client.get(URL + path)
    allowed = NEEDED[path] <= set(permissions)
    assert response.status_code == (200 if allowed else 403)


@pytest.mark.parametrize("path", [*NEEDED, "preview/"])
async def test_a_visitor_is_sent_to_sign_in(
    async_client: AsyncClient, node: Node, path: str
) -> None:
    response = await async_client.get(URL + path)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("permissions", [(VIEW,), (VIEW, PUBLISH)], ids="+".join)
async def test_links_to_publish_need_the_permission(
    async_client: AsyncClient, node: Node, permissions: tuple[str, ...]
) -> None:
    await sign_in(async_client, *permissions)
    await apublish("news", 1)
    for path in ("", "1/change/", "1/receipt/"):
        page = await get(async_client, URL + path)
        assert (f"{ADD}?again=1" in page) == (PUBLISH in permissions)
    assert ("Publish an event" in await get(async_client, URL)) == (
        PUBLISH in permissions
    )
