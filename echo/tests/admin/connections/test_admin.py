"""Live connections in the admin: who sees them, which are listed, and what is done to them."""

import html
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import AsyncClient

from echo.admin.connections.table import lasted
from echo.feed import Connection, Reader, Subscription
from echo.feed.access import Interest
from echo.feed.cluster.connections import MAX_PAGE
from echo.feed.node import Node
from echo.feed.subscription import State
from echo.protocol import CloseCode
from echo.tests.admin.operators import sign_in
from echo.tests.feed.conftest import Wire
from echo.tests.feed.reading import until

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/admin/echo/connection/"
ROW = re.compile(r'<tr data-id="([^"]+)"')
LINK = re.compile(r'<a href="(\?[^"]*)"[^>]* data-id="(\w+)"')
VIEW, END, PUBLISH = "view_connection", "end_connection", "add_event"
STAYS_AWAY, COMES_BACK = 4503, 4011


async def connect(
    node: Node, transport: str = "websocket", *topics: str, **fields: Any
) -> Subscription:
    reader = Reader(username=fields.pop("username", ""))
    interest = Interest(topics or ("news",), reader)
    connection = Connection(transport, **fields)
    return await node.subscribe(interest, "now", connection, 20)


async def get(client: AsyncClient, query: str = "", status: int = 200) -> str:
    """The list's text, without the white space."""
    response = await client.get(URL + query)
    assert response.status_code == status
    return squeezed(response)


async def act(
    client: AsyncClient,
    action: str,
    *readers: Subscription,
    query: str = "",
    **fields: Any,
) -> str:
    """Chooses an action for these connections; the page that follows."""
    ids = [reader.connection.id for reader in readers]
    form = {"action": action, "_selected_action": ids, **fields}
    response = await client.post(URL + query, form, follow=True)
    assert response.status_code == 200
    return squeezed(response)


def squeezed(response: Any) -> str:
    return re.sub(r"\s+", " ", response.content.decode())


def listed(page: str) -> list[str]:
    """The ids of the page's rows, in its order."""
    return ROW.findall(page)


def links(page: str) -> dict[str, str]:
    """The links beneath the list, by name."""
    return {name: href.replace("&amp;", "&") for href, name in LINK.findall(page)}


def ids(*readers: Subscription) -> list[str]:
    return [reader.connection.id for reader in readers]


def farewell(reader: Subscription) -> tuple[int, str] | None:
    """The code and the reason with which a connection is ended, if it is."""
    if reader.bye is None:
        return None
    return reader.bye.fields["code"], reader.bye.fields["reason"]


async def entries() -> list[tuple[str, str]]:
    """The log of actions, oldest first: which object, and what was done."""
    found = LogEntry.objects.order_by("pk").values_list("object_id", "change_message")
    return [(str(pk), what) async for pk, what in found]


# --- the list --------------------------------------------------------------------------


async def test_connections_are_seen_by_who_may_view_them(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await get(async_client)


@pytest.mark.parametrize("permissions", [(), (END, PUBLISH)])
async def test_connections_are_not_seen_by_others(
    async_client: AsyncClient, node: Node, permissions: tuple[str, ...]
) -> None:
    await sign_in(async_client, *permissions)
    await get(async_client, status=403)


async def test_a_connection_is_listed_with_what_is_known_of_it(
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


async def test_what_a_client_says_of_itself_is_never_markup(
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


async def test_what_is_searched_for_is_never_markup(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    assert "<script>alert" not in await get(
        async_client, "?q=%3Cscript%3Ealert(1)%3C/script%3E"
    )


async def test_a_reader_who_is_behind_is_shown_to_be_catching_up(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    reader = await connect(node)
    for state in (State.BEHIND, State.REPLAYING):
        reader.state = state
        page = await get(async_client)
        assert 'data-state="catching_up">catching up<' in page


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
async def test_connections_are_found_by_filters_and_words(
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
async def test_a_mistake_in_the_address_is_told_and_lists_nobody(
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


async def test_the_page_refreshes_itself_with_a_part_of_its_own(
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
    [("", "Nobody reads the feed now."), ("?q=nobody", "No live connection matches.")],
)
async def test_an_empty_list_says_what_to_do_next(
    async_client: AsyncClient, node: Node, query: str, told: str
) -> None:
    await sign_in(async_client, VIEW)
    assert told in await get(async_client, query)


async def test_a_page_whose_connections_have_all_gone_leads_to_the_first(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    reader = await connect(node, since=5.0)
    page = await get(async_client, "?after=6.0,zz")
    assert "Nobody is left on this page." in page
    assert links(page)["first"] == "?"
    assert listed(await get(async_client, links(page)["first"])) == ids(reader)


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ((), set()),
        ((END,), {"disconnect", "ask_to_reconnect"}),
        ((PUBLISH,), set()),
    ],
)
async def test_actions_are_offered_to_who_may_take_them(
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


async def test_the_log_of_actions_leads_to_the_connection(
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


# --- the other nodes ---------------------------------------------------------------------


@pytest.fixture
async def other(node: Node) -> AsyncIterator[Node]:
    """Another node, which this one has heard of."""
    other = Node()
    other.history.head = node.history.head
    wire: Any = Wire(node, other)
    for each in (node, other):
        each.cluster.channel.layer, each.cluster.channel.reaches_others = wire, True
    for each in (node, other):
        await each.cluster.send_pulse()
    yield other
    for subscription in list(other.hub.subscriptions.values()):
        subscription.close()


async def test_connections_of_all_nodes_are_listed_and_ended(
    async_client: AsyncClient, node: Node, other: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    readers = [await connect(node, since=1.0), await connect(other, since=2.0)]
    assert listed(await get(async_client)) == ids(*readers)
    page = await act(async_client, "ask_to_reconnect", *readers)
    assert "2 connections asked to reconnect, on 2 nodes." in page
    assert farewell(readers[1]) == (COMES_BACK, "asked to reconnect")


@pytest.fixture
def silent(other: Node, node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    """The other node, which is too slow to be heard in time."""
    monkeypatch.setattr("echo.feed.cluster.survey.ANSWER_SECONDS", 0.05)
    wire: Any = node.cluster.channel.layer
    wire.nodes.remove(other)
    return other


@pytest.fixture
def down(other: Node, node: Node) -> None:
    """The channel layer is down, so that the other node is not even asked."""
    node.cluster.channel.is_up = False


ALONE = html.escape(
    "The channel layer is down: only this node's connections are known."
)


async def test_a_silent_node_is_named(
    async_client: AsyncClient, node: Node, silent: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    named = f"Did not answer in time, so not counted: {silent.name}"
    assert named in await get(async_client)
    assert named in await act(async_client, "disconnect", reader)
    page = await act(async_client, "ask_to_reconnect", reader)
    assert f"{silent.name} did not answer in time: what was done there is not" in page
    assert '<li class="warning">' in page


async def test_one_nodes_connections_are_never_taken_for_all(
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


async def test_with_all_nodes_heard_nothing_is_said_of_them(
    async_client: AsyncClient, node: Node, other: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    readers = [await connect(node), await connect(other)]
    pages = [
        await get(async_client),
        await act(async_client, "disconnect", *readers),
        await act(async_client, "disconnect", *readers, confirmed="yes"),
    ]
    assert not [page for page in pages if "unheard" in page or ALONE in page]
    assert '<li class="success">' in pages[-1]


async def test_what_a_slow_node_is_asked_to_end_is_logged(
    async_client: AsyncClient, node: Node, silent: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    here, there = await connect(node, address="192.0.2.7"), await connect(silent)
    await act(async_client, "ask_to_reconnect", here, there)
    await act(async_client, "ask_to_reconnect", select_across="1", confirmed="yes")
    unknown = f"unless it had gone already; silent: {silent.name}"
    assert await entries() == [
        (here.connection.id, "asked to reconnect: websocket, 192.0.2.7, a visitor"),
        (there.connection.id, f"asked to reconnect: {unknown}"),
        ("all", f"asked to reconnect: 0 connections, all; silent: {silent.name}"),
    ]


async def test_that_only_one_node_was_asked_is_logged(
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
            f"asked to reconnect: unless it had gone already; {why}",
        ),
        ("all", f"asked to reconnect: 0 connections, all; {why}"),
    ]


# --- ending connections ------------------------------------------------------------------


async def test_disconnecting_is_asked_about_first(
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
        "1 connection disconnected, on 1 node. 1 had gone already or is going." in page
    )
    assert farewell(reader) == (STAYS_AWAY, "pause, please")
    assert farewell(bystander) is None
    what = 'disconnected, reason "pause, please": '
    assert await entries() == [
        (reader.connection.id, f"{what}websocket, 192.0.2.7, bob"),
        (gone.connection.id, f"{what}unless it had gone already"),
    ]


async def test_without_a_reason_an_operator_is_it(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    await act(async_client, "disconnect", reader, confirmed="yes", reason="")
    assert farewell(reader) == (STAYS_AWAY, "disconnected by an operator")


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
        (COMES_BACK, "asked to reconnect")
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


async def test_ending_thousands_is_answered_before_it_is_done(
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
async def test_all_that_match_are_ended_after_a_question_and_logged_once(
    async_client: AsyncClient, node: Node, action: str
) -> None:
    await sign_in(async_client, VIEW, END)
    wanted = [await connect(node, "sse") for _ in range(120)]
    bystander = await connect(node)
    across = {"select_across": "1", "query": "?transport=sse&q=news"}
    page = await act(async_client, action, wanted[0], **across)
    assert "now 120 connections" in page
    assert "<code>transport=sse</code>" in page
    assert not any(map(farewell, wanted))
    page = await act(async_client, action, wanted[0], confirmed="yes", **across)
    assert "120 connections" in page
    assert all(map(farewell, wanted))
    assert farewell(bystander) is None
    [(pk, what)] = await entries()
    assert pk == "all"
    assert '120 connections, all that match q is "news", transport is "sse"' in what


async def test_nobody_is_ended_when_nobody_is_selected(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    reader = await connect(node)
    page = await act(async_client, "disconnect", confirmed="yes")
    assert "Select connections first: nothing has been done." in page
    assert "No action selected." in await act(async_client, "", reader)
    assert farewell(reader) is None


async def test_a_selection_of_those_who_have_gone_says_so(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, END)
    bystander, gone = await connect(node), await connect(node)
    gone.close()
    page = await act(async_client, "ask_to_reconnect", gone)
    assert "1 had gone already or is going." in page
    assert farewell(bystander) is None
    what = "asked to reconnect: unless it had gone already"
    assert await entries() == [(gone.connection.id, what)]


@pytest.mark.parametrize(
    ("permission", "action"),
    [
        (PUBLISH, "disconnect"),
        (PUBLISH, "ask_to_reconnect"),
        (END, "delete_selected"),
    ],
)
async def test_an_action_is_refused_to_who_may_not_take_it(
    async_client: AsyncClient, node: Node, permission: str, action: str
) -> None:
    await sign_in(async_client, VIEW, permission)
    reader = await connect(node)
    form = {"action": action, "_selected_action": ids(reader), "confirmed": "yes"}
    assert (await async_client.post(URL, form)).status_code == 403
    assert farewell(reader) is None


# --- words -------------------------------------------------------------------------------


def test_the_codes_are_the_protocols() -> None:
    assert STAYS_AWAY == CloseCode.DISCONNECTED_BY_OPERATOR
    assert COMES_BACK == CloseCode.ASKED_TO_RECONNECT


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h 0 min"),
        (86399, "23 h 59 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_units(
    seconds: float, told: str
) -> None:
    assert lasted(seconds) == told
