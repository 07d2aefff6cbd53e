"""Closing connections: confirmed, reported, and logged."""

import pytest
from django.test import AsyncClient

from echo.feed.cluster.connections import MAX_PAGE
from echo.feed.node import Node
from echo.protocol import CloseCode
from echo.tests.admin.connections.pages import (
    DISCONNECTED,
    END,
    PUBLISH,
    RECONNECT,
    URL,
    VIEW,
    act,
    connect,
    entries,
    farewell,
    get,
    ids,
    listed,
)
from echo.tests.admin.operators import sign_in
from echo.tests.feed.reading import until

pytestmark = pytest.mark.django_db(transaction=True)


async def test_connections_of_all_nodes_are_listed_and_ended(
    async_client: AsyncClient, node: Node, other: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    readers = [await connect(node, since=1.0), await connect(other, since=2.0)]
    assert listed(await get(async_client)) == ids(*readers)
    page = await act(async_client, "ask_to_reconnect", *readers)
    assert "2 connections asked to reconnect, on 2 nodes." in page
    assert farewell(readers[1]) == (RECONNECT, "asked to reconnect")


async def test_the_log_names_a_node_that_did_not_answer(
    async_client: AsyncClient, node: Node, silent: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    here, there = await connect(node, address="192.0.2.7"), await connect(silent)
    await act(async_client, "ask_to_reconnect", here, there)
    await act(async_client, "ask_to_reconnect", select_across="1", confirmed="yes")
    unknown = f"unless it had already closed; no answer from {silent.name}"
    assert await entries() == [
        (here.connection.id, "asked to reconnect: websocket, 192.0.2.7, a visitor"),
        (there.connection.id, f"asked to reconnect: {unknown}"),
        (
            "all",
            f"asked to reconnect: 0 connections, all; no answer from {silent.name}",
        ),
    ]


async def test_the_log_says_that_only_one_node_was_asked(
    async_client: AsyncClient, node: Node, other: Node, down: None
) -> None:
    await sign_in(async_client, VIEW, END)
    there = await connect(other)
    await act(async_client, "ask_to_reconnect", there)
    await act(async_client, "ask_to_reconnect", select_across="1", confirmed="yes")
    why = "the channel layer was down, only one node was asked"
    assert await entries() == [
        (
            there.connection.id,
            f"asked to reconnect: unless it had already closed; {why}",
        ),
        ("all", f"asked to reconnect: 0 connections, all; {why}"),
    ]


async def test_disconnecting_needs_confirmation(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node, address="192.0.2.7")
    page = await act(async_client, "disconnect", reader)
    assert "Are you sure?" in page
    assert reader.connection.id in page
    assert "4503" in page
    assert farewell(reader) is None
    assert await entries() == []


async def test_the_selected_are_disconnected_with_the_reason_and_logged(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node, address="192.0.2.7", username="bob")
    gone, bystander = await connect(node), await connect(node)
    gone.close()
    page = await act(
        async_client,
        "disconnect",
        reader,
        gone,
        confirmed="yes",
        reason="pause, please",
    )
    assert (
        "1 connection disconnected, on 1 node. 1 had already closed or was closing."
        in page
    )
    assert farewell(reader) == (DISCONNECTED, "pause, please")
    assert farewell(bystander) is None
    what = 'disconnected, reason "pause, please": '
    assert await entries() == [
        (reader.connection.id, f"{what}websocket, 192.0.2.7, bob"),
        (gone.connection.id, f"{what}unless it had already closed"),
    ]


async def test_the_default_reason_names_an_operator(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    await act(async_client, "disconnect", reader, confirmed="yes", reason="")
    assert farewell(reader) == (DISCONNECTED, "disconnected by an operator")


@pytest.mark.parametrize(("length", "is_accepted"), [(61, True), (62, False)])
async def test_a_reason_fits_a_close_frame(
    async_client: AsyncClient, node: Node, length: int, is_accepted: bool
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    page = await act(
        async_client, "disconnect", reader, confirmed="yes", reason="é" * length
    )
    assert (farewell(reader) is not None) is is_accepted
    told = "Expected at most 123 bytes of UTF-8, got 124: shorten it."
    assert (told in page) is not is_accepted


async def test_the_selected_are_asked_to_reconnect_at_once(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    readers = [await connect(node) for _ in range(2)]
    page = await act(async_client, "ask_to_reconnect", *readers)
    assert "2 connections asked to reconnect, on 1 node." in page
    assert {farewell(reader) for reader in readers} == {
        (RECONNECT, "asked to reconnect")
    }
    assert [pk for pk, _ in await entries()] == ids(*readers)


async def test_each_of_many_selected_is_logged(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    readers = [await connect(node) for _ in range(MAX_PAGE + 20)]
    await act(async_client, "ask_to_reconnect", *readers)
    assert all(map(farewell, readers))
    assert sorted(pk for pk, _ in await entries()) == sorted(ids(*readers))


async def test_closing_thousands_is_reported_before_it_is_done(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo.feed.hub.BATCH_CONNECTIONS", 10)
    await sign_in(async_client, VIEW, END)
    readers = [await connect(node) for _ in range(35)]
    page = await act(
        async_client, "ask_to_reconnect", select_across="1", confirmed="yes"
    )
    assert "35 connections asked to reconnect, on 1 node." in page
    await until(lambda: all(map(farewell, readers)))


@pytest.mark.parametrize("action", ["disconnect", "ask_to_reconnect"])
async def test_closing_all_that_match_is_confirmed_and_logged_once(
    async_client: AsyncClient, node: Node, action: str
) -> None:
    await sign_in(async_client, VIEW, END)
    wanted = [await connect(node, "sse") for _ in range(120)]
    bystander = await connect(node)
    across = {"select_across": "1", "query": "?transport=sse&q=news"}
    page = await act(async_client, action, wanted[0], **across)
    assert "120 connections now" in page
    assert "<code>transport=sse</code>" in page
    assert not any(map(farewell, wanted))
    page = await act(async_client, action, wanted[0], confirmed="yes", **across)
    assert "120 connections" in page
    assert all(map(farewell, wanted))
    assert farewell(bystander) is None
    [(pk, what)] = await entries()
    assert pk == "all"
    assert '120 connections, all that match q is "news", transport is "sse"' in what


async def test_an_empty_selection_closes_nothing(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    page = await act(async_client, "disconnect", confirmed="yes")
    assert "Select connections first: nothing has been done." in page
    assert "No action selected." in await act(async_client, "", reader)
    assert farewell(reader) is None


async def test_a_selection_that_has_closed_is_reported(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    bystander, gone = await connect(node), await connect(node)
    gone.close()
    page = await act(async_client, "ask_to_reconnect", gone)
    assert "1 had already closed or was closing." in page
    assert farewell(bystander) is None
    what = "asked to reconnect: unless it had already closed"
    assert await entries() == [(gone.connection.id, what)]


@pytest.mark.parametrize(
    ("permission", "action"),
    [
        (PUBLISH, "disconnect"),
        (PUBLISH, "ask_to_reconnect"),
        (END, "delete_selected"),
    ],
)
async def test_an_action_without_its_permission_is_refused(
    async_client: AsyncClient, node: Node, permission: str, action: str
) -> None:
    await sign_in(async_client, VIEW, permission)
    reader = await connect(node)
    form = {"action": action, "_selected_action": ids(reader), "confirmed": "yes"}
    assert (await async_client.post(URL, form)).status_code == 403
    assert farewell(reader) is None


def test_the_close_codes_are_those_of_the_protocol() -> None:
    assert DISCONNECTED == CloseCode.DISCONNECTED_BY_OPERATOR
    assert RECONNECT == CloseCode.ASKED_TO_RECONNECT
