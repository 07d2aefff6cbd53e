"""The query string of the list: filters, search, order and pages."""

import re

import pytest
from django.test import AsyncClient

from echo.feed.node import Node
from echo.feed.subscription import State
from echo.tests.admin.connections.pages import (
    END,
    URL,
    VIEW,
    connect,
    farewell,
    get,
    ids,
    links,
    listed,
)
from echo.tests.admin.operators import sign_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "query",
    [
        "?transport=sse",
        "?q=192.0.2.7",
        "?q=FIREFOX",
        "?q=bob",
        "?q=news.eu",
        "?topic=news.eu",
        "?state=catching_up",
        "?transport=sse&state=catching_up&q=bob&order=newest",
    ],
)
async def test_connections_are_found_by_filters_and_search(
    async_client: AsyncClient, node: Node, query: str
) -> None:
    await sign_in(async_client, VIEW)
    await connect(node)
    wanted = await connect(
        node,
        "sse",
        "news.eu",
        address="192.0.2.7",
        user_agent="Firefox",
        username="bob",
    )
    wanted.state = State.BEHIND
    assert listed(await get(async_client, query)) == ids(wanted)
    assert listed(await get(async_client, f"{query}&node={node.name}")) == ids(wanted)
    assert listed(await get(async_client, f"{query}&node=another")) == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (
            "?transport=pigeon",
            "transport: expected websocket, sse, longpoll, shortpoll",
        ),
        ("?state=asleep", "state: expected live, catching_up, got"),
        ("?order=sideways", "order: expected newest, got"),
        ("?topic=no..topic", "topic: expected a topic, such as news.eu, got"),
        ("?node=<script>", "node: expected the name of a node, got"),
        ("?after=yesterday", "after: expected seconds and an id"),
        ("?before=1e400,x", "before: expected seconds and an id"),
        ("?transports=sse", "unknown parameter &#x27;transports&#x27;: expected q, "),
    ],
)
async def test_an_invalid_query_is_explained_and_selects_nothing(
    async_client: AsyncClient, node: Node, query: str, told: str
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    page = await get(async_client, query, status=400)
    assert told in page
    assert listed(page) == []
    everybody = {"action": "disconnect", "select_across": "1", "confirmed": "yes"}
    assert (await async_client.post(URL + query, everybody)).status_code == 400
    assert farewell(reader) is None


@pytest.mark.parametrize("order", ["", "newest"])
async def test_pages_follow_one_another_without_a_gap_or_a_double(
    async_client: AsyncClient, node: Node, order: str
) -> None:
    await sign_in(async_client, VIEW)
    readers = [await connect(node, since=1000.25 + number) for number in range(250)]
    expected = ids(*(reversed(readers) if order else readers))
    first = await get(async_client, f"?order={order}" if order else "")
    assert "1–100 of 250" in first
    assert links(first).keys() == {"next", "order"}
    second = await get(async_client, links(first)["next"])
    assert "101–200 of 250" in second
    third = await get(async_client, links(second)["next"])
    assert "201–250 of 250" in third
    assert links(third).keys() == {"first", "previous", "order"}
    assert listed(first) + listed(second) + listed(third) == expected
    assert listed(await get(async_client, links(third)["previous"])) == listed(second)
    assert listed(await get(async_client, links(third)["first"])) == listed(first)


async def test_newer_connections_do_not_push_rows_from_an_anchored_page(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    readers = [await connect(node, since=1000.5 + number) for number in range(3)]
    page = await get(async_client, "?order=newest")
    anchor = re.search(r'data-anchor="([^"]+)"', page)
    assert anchor is not None
    await connect(node)
    held = await get(async_client, anchor[1].replace("&amp;", "&"))
    assert listed(held) == ids(*reversed(readers))
    assert "2–4 of 4" in held


async def test_an_empty_later_page_links_to_the_first(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    reader = await connect(node, since=5.0)
    page = await get(async_client, "?after=6.0,zz")
    assert "All connections of this page have closed." in page
    assert links(page)["first"] == "?"
    assert listed(await get(async_client, links(page)["first"])) == ids(reader)
