"""The list of connections: every node answers with a page and totals."""

import asyncio
from typing import Any

import pytest

from echo.feed import Connection, Notice, Reader, Subscription
from echo.feed.access import Interest
from echo.feed.cluster import (
    ConnectionList,
    ConnectionRow,
    EndConnections,
    ListConnections,
)
from echo.feed.node import Node
from echo.feed.relay import read_head
from echo.protocol import CloseCode, FeedError
from echo.tests.feed.conftest import Wire
from echo.tests.feed.reading import until


async def connect(
    node: Node, transport: str = "websocket", topic: str = "news", **fields: Any
) -> Subscription:
    reader = Reader(username=fields.pop("username", ""))
    connection = Connection(transport, **fields)
    return await node.subscribe(Interest((topic,), reader), "now", connection, 20)


async def test_a_node_is_asked_about_its_own_connections(node: Node) -> None:
    reader = await connect(node, address="192.0.2.1", user_agent="curl", username="ann")
    answer = await node.cluster.surveys.ask(ListConnections())
    assert answer.result.total == 1
    assert answer.nodes == [node.name]
    row = answer.result.rows[0]
    assert row.id == reader.connection.id
    assert row.node == node.name
    assert row.address == "192.0.2.1"
    assert row.user == "ann"
    assert row.topics == ["news"]
    assert row.behind == 0
    assert row.state == "live"


async def test_every_node_answers(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    first = await connect(here, since=1.0)
    second = await connect(there, since=2.0)
    for asked in nodes:
        answer = await asked.cluster.surveys.ask(ListConnections())
        assert answer.result.total == 2
        assert answer.nodes == sorted([here.name, there.name])
        assert [row.id for row in answer.result.rows] == [
            first.connection.id,
            second.connection.id,
        ]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_follow_on_one_another_both_ways(
    nodes: tuple[Node, Node], newest_first: bool
) -> None:
    readers = [await connect(nodes[n % 2], since=float(n)) for n in range(10)]
    ids = [reader.connection.id for reader in readers]
    if newest_first:
        ids.reverse()
    pages: list[ConnectionList] = []
    place = None
    for _ in range(4):
        question = ListConnections(newest_first=newest_first, after=place, limit=3)
        pages.append((await nodes[0].cluster.surveys.ask(question)).result)
        place = place_of(pages[-1].rows[-1])
    assert [row.id for page in pages for row in page.rows] == ids
    assert [page.preceding for page in pages] == [0, 3, 6, 9]
    assert {page.total for page in pages} == {10}
    before = place_of(pages[3].rows[0])
    question = ListConnections(newest_first=newest_first, before=before, limit=3)
    page = (await nodes[1].cluster.surveys.ask(question)).result
    assert page.rows == pages[2].rows
    assert page.preceding == 6


def place_of(row: ConnectionRow) -> tuple[float, str]:
    return row.since, row.id


async def test_a_node_never_answers_with_more_than_a_page(node: Node) -> None:
    for number in range(205):
        await connect(node, since=float(number))
    last = await ListConnections(limit=1000).answer(node.hub)
    assert last.total == 205
    assert len(last.rows) == 200


@pytest.mark.parametrize(
    "question",
    [
        ListConnections(transport="sse"),
        ListConnections(search="FIREFOX"),
        ListConnections(search="192.0.2.7"),
        ListConnections(search="news.eu"),
        ListConnections(search="bob"),
        ListConnections(state="catching_up"),
        ListConnections(topic="news.eu"),
    ],
)
async def test_connections_are_found_by_transport_and_words(
    nodes: tuple[Node, Node], question: ListConnections
) -> None:
    await connect(nodes[0])
    wanted = await connect(
        nodes[1],
        "sse",
        "news.eu",
        address="192.0.2.7",
        user_agent="Firefox",
        username="bob",
    )
    wanted.fall_behind()
    answer = await nodes[0].cluster.surveys.ask(question)
    assert answer.result.total == 1
    assert answer.result.rows[0].id == wanted.connection.id


async def test_a_node_that_does_not_answer_is_not_waited_for_long(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes
    monkeypatch.setattr("echo.feed.cluster.survey.ANSWER_SECONDS", 0.05)
    await connect(here)
    wire: Any = here.cluster.channel.layer
    wire.nodes.remove(there)
    answer = await here.cluster.surveys.ask(ListConnections())
    assert answer.nodes == [here.name]
    assert answer.unresponsive == [there.name]
    assert answer.result.total == 1
    assert not here.cluster.surveys.open


async def test_one_nodes_connections_can_be_asked_for(
    nodes: tuple[Node, Node],
) -> None:
    await connect(nodes[0])
    wanted = await connect(nodes[1])
    answer = await nodes[0].cluster.surveys.ask(ListConnections(node=nodes[1].name))
    assert [row.id for row in answer.result.rows] == [wanted.connection.id]


async def test_connections_are_ended_on_whichever_node_they_are(
    nodes: tuple[Node, Node],
) -> None:
    readers = [await connect(nodes[n % 2]) for n in range(4)]
    ids = tuple(reader.connection.id for reader in readers[:2])
    code = CloseCode.DISCONNECTED_BY_OPERATOR
    survey = await nodes[0].cluster.surveys.ask(
        EndConnections(code, "enough", ListConnections(ids=ids))
    )
    assert survey.result.count == 2
    assert {row.id for row in survey.result.rows} == set(ids)
    for reader in readers[:2]:
        (bye,) = await reader.next()
        assert isinstance(bye, Notice)
        assert (bye.fields["code"], bye.fields["reason"]) == (4503, "enough")
    assert [reader.bye for reader in readers[2:]] == [None, None]
    again = await nodes[0].cluster.surveys.ask(
        EndConnections(code, "enough", ListConnections(ids=ids))
    )
    assert again.result.count == 0


async def test_all_that_match_are_ended_and_come_back_spread_out(
    nodes: tuple[Node, Node],
) -> None:
    chosen = [await connect(nodes[n % 2], "sse") for n in range(6)]
    other = await connect(nodes[0])
    question = EndConnections(
        CloseCode.ASKED_TO_RECONNECT, "please", ListConnections(transport="sse")
    )
    survey = await nodes[0].cluster.surveys.ask(question)
    assert survey.result.count == 6
    await until(lambda: all(reader.bye for reader in chosen))
    assert other.bye is None
    byes = [reader.bye.fields for reader in chosen if reader.bye]
    assert all(bye["code"] == 4011 for bye in byes)
    assert len({bye["retry_ms"] for bye in byes}) > 1


def test_a_reason_must_fit_a_close_frame() -> None:
    with pytest.raises(FeedError, match="at most 123 bytes, got 124"):
        EndConnections(CloseCode.DISCONNECTED_BY_OPERATOR, "é" * 62)


async def test_nodes_that_cannot_be_asked_are_named_and_their_absence_told(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes
    await connect(here)

    async def refuse(*arguments: Any) -> None:
        raise ConnectionError("the channel layer has died")

    monkeypatch.setattr(here.cluster.channel.layer, "group_send", refuse)
    answer = await here.cluster.surveys.ask(ListConnections())
    assert (answer.result.total, answer.nodes) == (1, [here.name])
    assert answer.unresponsive == [there.name]
    assert not answer.is_degraded
    here.cluster.channel.is_up = False
    answer = await here.cluster.surveys.ask(ListConnections())
    assert (answer.result.total, answer.unresponsive, answer.is_degraded) == (
        1,
        [],
        True,
    )


async def test_a_node_that_has_just_come_is_told_of_the_others_first(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Node(), Node()
    wire: Any = Wire(old, new)
    for node in (old, new):
        node.history.head = await read_head()
        node.cluster.channel.layer, node.cluster.channel.reaches_others = wire, True
    reader = await connect(old)
    await new.cluster.send_pulse()
    new.cluster.presence.settled_at = new.loop.time() + 0.01
    answer = await new.cluster.surveys.ask(ListConnections())
    assert [row.id for row in answer.result.rows] == [reader.connection.id]
    assert set(new.cluster.presence.known) == {old.name}


async def test_an_older_versions_words_do_no_harm(nodes: tuple[Node, Node]) -> None:
    here = nodes[0]
    known = set(here.cluster.presence.known)
    here.cluster.dispatch(
        {"type": "feed.pulse", "node": "old", "head": str(here.history.head)}
    )
    here.cluster.dispatch({"type": "feed.news", "of": "a newer version"})
    assert set(here.cluster.presence.known) == known
    ask = {"type": "feed.ask", "question": "1", "node": "new"}
    here.cluster.dispatch(ask | {"kind": "Weather", "fields": {}})
    while here.cluster.tasks:
        await asyncio.wait(here.cluster.tasks)


async def test_an_answer_of_another_version_makes_its_node_unresponsive(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes
    await connect(here)
    await connect(there)
    pack_answer = ListConnections.pack_answer

    def pack_with_more(self: ListConnections, answer: ConnectionList) -> Any:
        packed = pack_answer(self, answer)
        return packed | {"rows": [row | {"new": 1} for row in packed["rows"]]}

    monkeypatch.setattr(ListConnections, "pack_answer", pack_with_more)
    survey = await here.cluster.surveys.ask(ListConnections())
    assert (survey.result.total, survey.nodes) == (1, [here.name])
    assert survey.unresponsive == [there.name]
