"""The list of live connections: permissions, rows, and what it says of missing nodes."""

import html
import re

import pytest
from django.test import AsyncClient

from echo.feed.node import Node
from echo.feed.subscription import State
from echo.tests.admin.connections.pages import (
    END,
    PUBLISH,
    URL,
    VIEW,
    act,
    connect,
    get,
    ids,
    listed,
    squeezed,
)
from echo.tests.admin.operators import sign_in

pytestmark = pytest.mark.django_db(transaction=True)
ALONE = html.escape(
    "The channel layer is down: only this node's connections are known."
)


async def test_the_list_needs_the_permission_to_view(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await get(async_client)


@pytest.mark.parametrize("permissions", [(), (END, PUBLISH)])
async def test_other_permissions_do_not_open_the_list(
    async_client: AsyncClient, node: Node, permissions: tuple[str, ...]
) -> None:
    await sign_in(async_client, *permissions)
    await get(async_client, status=403)


async def test_a_row_shows_what_the_node_knows_of_a_connection(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    reader = await connect(
        node,
        "sse",
        *(f"t{number}" for number in range(6)),
        address="192.0.2.7",
        user_agent="curl/8.5",
        username="bob",
    )
    page = await get(async_client)
    assert listed(page) == ids(reader)
    row = page[page.index("<tr data-id") : page.index("</tbody>")]
    for told in ("Server-Sent Events", "bob", "192.0.2.7", "curl/8.5", node.name):
        assert told in row
    assert "t0 t1 t2 t3 and 2 more" in row
    assert 'data-state="live">live<' in row


async def test_a_clients_own_texts_are_escaped(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(
        node, user_agent='"><script>alert(1)</script>', username="<b>bob"
    )
    for page in (
        await get(async_client),
        await act(async_client, "disconnect", reader),
    ):
        assert "<script>alert" not in page
        assert "<b>bob" not in page
    assert "&lt;script&gt;alert" in await get(async_client)


async def test_the_search_text_is_escaped(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    assert "<script>alert" not in await get(
        async_client, "?q=%3Cscript%3Ealert(1)%3C/script%3E"
    )


async def test_a_connection_that_is_behind_is_catching_up(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    reader = await connect(node)
    for state in (State.BEHIND, State.REPLAYING):
        reader.state = state
        page = await get(async_client)
        assert 'data-state="catching_up">catching up<' in page


async def test_a_refresh_returns_only_the_part_to_replace(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    response = await async_client.get(URL, headers={"X-Fragment": "1"})
    part = squeezed(response)
    assert listed(part) == ids(reader)
    assert "<html" not in part
    assert "<form" not in part


@pytest.mark.parametrize(
    ("query", "told"),
    [("", "No live connections."), ("?q=nobody", "No live connection matches.")],
)
async def test_an_empty_list_says_what_to_do_next(
    async_client: AsyncClient, node: Node, query: str, told: str
) -> None:
    await sign_in(async_client, VIEW)
    assert told in await get(async_client, query)


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ((), set()),
        ((END,), {"disconnect", "ask_to_reconnect"}),
        ((PUBLISH,), set()),
    ],
)
async def test_actions_are_offered_with_their_permission(
    async_client: AsyncClient,
    node: Node,
    permissions: tuple[str, ...],
    expected: set[str],
) -> None:
    await sign_in(async_client, VIEW, *permissions)
    await connect(node)
    page = await get(async_client)
    offered = set(re.findall(r'<option value="(\w+)"', page))
    assert offered == expected
    assert ('class="action-select"' in page) is bool(expected)


async def test_the_log_of_actions_links_to_the_connection(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    response = await async_client.get(f"{URL}a_5Fb-c/change/")
    assert response["Location"] == f"{URL}?q=a_b-c"
    everybody = await async_client.get(f"{URL}all/change/")
    assert everybody["Location"] == f"{URL}?"


async def test_the_pages_that_would_read_a_table_do_not_exist(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    for page in ("add/", "x/delete/", "x/history/"):
        assert (await async_client.get(URL + page)).status_code == 404


async def test_a_node_that_does_not_answer_is_named(
    async_client: AsyncClient, node: Node, silent: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    named = f"Not counted, because they did not answer in time: {silent.name}"
    assert named in await get(async_client)
    assert named in await act(async_client, "disconnect", reader)
    page = await act(async_client, "ask_to_reconnect", reader)
    assert f"{silent.name} did not answer in time: the outcome there is unknown" in page
    assert '<li class="warning">' in page


async def test_a_list_of_one_node_says_that_it_is_incomplete(
    async_client: AsyncClient, node: Node, down: None
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    assert ALONE in await get(async_client)
    assert ALONE in await act(async_client, "disconnect", reader)
    page = await act(async_client, "disconnect", reader, confirmed="yes")
    assert f"1 connection disconnected, on 1 node. {ALONE}" in page
    assert '<li class="warning">' in page
    reader.close()
    page = await act(async_client, "ask_to_reconnect", reader)
    assert f"nothing has been done. {ALONE}" in page


async def test_a_complete_list_has_no_caveats(
    async_client: AsyncClient, node: Node, other: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    readers = [await connect(node), await connect(other)]
    pages = [
        await get(async_client),
        await act(async_client, "disconnect", *readers),
        await act(async_client, "disconnect", *readers, confirmed="yes"),
    ]
    assert not [page for page in pages if "caveat" in page or ALONE in page]
    assert '<li class="success">' in pages[-1]
