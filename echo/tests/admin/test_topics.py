"""Topics in the admin: their readers, last event and retention."""

import re
from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.test import AsyncClient

from echo.feed import apublish
from echo.feed.node import Node
from echo.models import Event, Topic
from echo.tests.admin.operators import sign_in
from echo.tests.feed.reading import subscribe

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/admin/echo/topic/"
VIEW, CHANGE = "view_topic", "change_topic"


async def get(client: AsyncClient, path: str = "") -> str:
    response = await client.get(URL + path)
    assert response.status_code == 200
    return str(response.content.decode())


def column(page: str, name: str) -> list[str]:
    """Return the cells of a column without their tags."""
    cells = re.findall(rf'class="field-{name}[^"]*">(.*?)</t[dh]>', page)
    return [re.sub("<[^>]*>", "", cell) for cell in cells]


async def test_topics_are_listed_with_their_readers(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    for topic in ("news", "news.eu", "ops_1"):
        await apublish(topic, 1)
    for pattern in ("news", "news.*", "*"):
        await subscribe(node, pattern)
    page = await get(async_client)
    assert column(page, "name") == ["news", "news.eu", "ops_1"]
    assert column(page, "readers") == ["2", "2", "1"]
    assert column(page, "readers") != column(page, "kept")


async def test_the_last_event_is_linked_while_it_is_kept(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, "view_event")
    await apublish("gone", 1)
    await apublish("kept", 2)
    await Event.objects.filter(topic="gone").adelete()
    page = await get(async_client)
    assert column(page, "last_event") == ["1", "2"]
    assert re.findall(r'href="/admin/echo/event/(\d+)/change/"', page) == ["2"]
    assert column(page, "last_sent_at")[0] == "–"
    assert re.fullmatch(r"[\d-]{10} [\d:]{8}\.\d{3}", column(page, "last_sent_at")[1])
    assert "None" not in await get(async_client, "gone/change/")


async def test_the_last_event_is_linked_only_with_the_permission(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", 1)
    for path in ("", "news/change/"):
        assert "/admin/echo/event/" not in await get(async_client, path)


async def test_an_incomplete_count_of_readers_says_at_least(
    async_client: AsyncClient, node: Node, degrade: Callable[..., None]
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", 1)
    await subscribe(node, "news")
    degrade(unresponsive=["b"])
    page = await get(async_client)
    assert column(page, "readers") == ["≥ 1"]
    assert "Not counted, because they did not answer in time: b" in page
    assert ">≥ 1<" in await get(async_client, "news/change/")


async def test_nul_is_rejected(async_client: AsyncClient, node: Node) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", 1)
    response = await async_client.get(f"{URL}?name=%00")
    assert response["Location"] == f"{URL}?e=1"
    for path in ("%00/change/", "%00/history/"):
        response = await async_client.get(URL + path)
        assert (response.status_code, response["Location"]) == (302, "/admin/")


async def test_retention_is_the_topics_own_or_the_sites(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("own", 1)
    await apublish("sites", 1)
    await Topic.objects.filter(name="own").aupdate(retention_seconds=60)
    page = await get(async_client)
    assert column(page, "retention") == [
        "60 s, 10,000 events",
        "86,400 s, 10,000 events",
    ]


@pytest.mark.parametrize("path", ["", "news_1/change/"])
@pytest.mark.parametrize(
    ("permission", "link"),
    [
        ("add_event", "/admin/echo/event/add/?topic=news_1"),
        ("view_connection", "/admin/echo/connection/?topic=news_1"),
    ],
)
async def test_links_need_the_permission_of_their_page(
    async_client: AsyncClient, node: Node, path: str, permission: str, link: str
) -> None:
    await sign_in(async_client, VIEW, permission)
    await apublish("news_1", 1)
    others = {"add_event", "view_connection"} - {permission}
    page = await get(async_client, path)
    assert f'href="{link}"' in page
    assert "add_event" in others or "/admin/echo/connection/" not in page
    assert "view_connection" in others or "/admin/echo/event/add/" not in page


async def test_a_change_of_retention_is_logged(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, CHANGE)
    await apublish("news", 1)
    response = await async_client.post(
        f"{URL}news/change/", {"retention_seconds": "60", "retention_events": ""}
    )
    assert response.status_code == 302
    topic = await Topic.objects.aget()
    assert (topic.retention_seconds, topic.retention_events) == (60, None)
    assert topic.last_number == 1
    entry = await LogEntry.objects.aget()
    assert (entry.object_id, entry.is_change()) == ("news", True)


async def test_a_mistake_in_retention_is_shown_with_the_topic(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, CHANGE)
    await apublish("news", 1)
    response = await async_client.post(
        f"{URL}news/change/", {"retention_seconds": "-1", "retention_events": ""}
    )
    assert response.status_code == 200
    page = response.content.decode()
    assert "greater than or equal to 0" in page
    (readers,) = re.findall(r'field-readers.*?class="readonly">(.*?)<', page, re.DOTALL)
    assert readers == "0"
    assert (await Topic.objects.aget()).retention_seconds is None


@pytest.mark.parametrize(
    ("permission", "seen", "changed"),
    [("view_event", 403, 403), (VIEW, 200, 403), (CHANGE, 200, 302)],
)
async def test_topics_need_the_permission(
    async_client: AsyncClient,
    node: Node,
    permission: str,
    seen: int,
    changed: int,
) -> None:
    await sign_in(async_client, permission)
    await apublish("news", 1)
    assert (await async_client.get(URL)).status_code == seen
    page = f"{URL}news/change/"
    assert (await async_client.get(page)).status_code == seen
    fields = {"retention_seconds": "", "retention_events": "5"}
    assert (await async_client.post(page, fields)).status_code == changed


@pytest.mark.parametrize("path", ["add/", "news/delete/"])
async def test_topics_are_not_added_or_deleted_by_hand(
    async_client: AsyncClient, node: Node, path: str
) -> None:
    await sign_in(async_client, VIEW, "add_topic", "delete_topic")
    await apublish("news", 1)
    assert (await async_client.post(URL + path)).status_code == 403
