"""Who is connected: asked of every node, answered with a page and totals."""

import asyncio
from typing import Any

import pytest

from echo.feed import (
    Census,
    Connection,
    End,
    Interest,
    Notice,
    Reader,
    Relay,
    Subscription,
)
from echo.feed.relay import read_head
from echo.protocol import CloseCode, FeedError
from echo.tests.feed.conftest import Wire


async def connect(
    relay: Relay, transport: str = "websocket", topic: str = "news", **fields: Any
) -> Subscription:
    reader = Reader(username=fields.pop("username", ""))
    connection = Connection(transport, **fields)
    return await relay.subscribe(Interest((topic,), reader), "now", connection, 20)


async def test_a_node_is_asked_about_its_own_connections(relay: Relay) -> None:
    reader = await connect(
        relay, address="192.0.2.1", user_agent="curl", username="ann"
    )
    census = await relay.nodes.ask(Census())
    assert census["total"] == 1
    assert census["nodes"] == [relay.node]
    row = census["rows"][0]
    assert row["id"] == reader.connection.id
    assert row["node"] == relay.node
    assert row["address"] == "192.0.2.1"
    assert row["user"] == "ann"
    assert row["topics"] == ["news"]
    assert row["behind"] == 0
    assert row["state"] == "live"


async def test_every_node_answers(nodes: tuple[Relay, Relay]) -> None:
    here, there = nodes
    first = await connect(here, since=1.0)
    second = await connect(there, since=2.0)
    for asked in nodes:
        census = await asked.nodes.ask(Census())
        assert census["total"] == 2
        assert census["nodes"] == sorted([here.node, there.node])
        assert [row["id"] for row in census["rows"]] == [
            first.connection.id,
            second.connection.id,
        ]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_follow_on_one_another_both_ways(
    nodes: tuple[Relay, Relay], newest_first: bool
) -> None:
    readers = [await connect(nodes[n % 2], since=float(n)) for n in range(10)]
    ids = [reader.connection.id for reader in readers]
    if newest_first:
        ids.reverse()
    pages: list[dict[str, Any]] = []
    place = None
    for _ in range(4):
        question = Census(newest_first=newest_first, after=place, limit=3)
        pages.append(await nodes[0].nodes.ask(question))
        place = place_of(pages[-1]["rows"][-1])
    assert [row["id"] for page in pages for row in page["rows"]] == ids
    assert [page["preceding"] for page in pages] == [0, 3, 6, 9]
    assert {page["total"] for page in pages} == {10}
    before = place_of(pages[3]["rows"][0])
    question = Census(newest_first=newest_first, before=before, limit=3)
    page = await nodes[1].nodes.ask(question)
    assert page["rows"] == pages[2]["rows"]
    assert page["preceding"] == 6


def place_of(row: dict[str, Any]) -> tuple[float, str]:
    return row["since"], row["id"]


async def test_a_node_never_answers_with_more_than_a_page(relay: Relay) -> None:
    for number in range(205):
        await connect(relay, since=float(number))
    last = await Census(limit=1000).answer(relay)
    assert last["total"] == 205
    assert len(last["rows"]) == 200


@pytest.mark.parametrize(
    "question",
    [
        Census(transport="sse"),
        Census(search="FIREFOX"),
        Census(search="192.0.2.7"),
        Census(search="news.eu"),
        Census(search="bob"),
        Census(state="catching_up"),
        Census(topic="news.eu"),
    ],
)
async def test_connections_are_found_by_transport_and_words(
    nodes: tuple[Relay, Relay], question: Census
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
    census = await nodes[0].nodes.ask(question)
    assert census["total"] == 1
    assert census["rows"][0]["id"] == wanted.connection.id


async def test_a_node_that_does_not_answer_is_not_waited_for_long(
    nodes: tuple[Relay, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes
    monkeypatch.setattr("echo.feed.nodes.ANSWER_SECONDS", 0.05)
    await connect(here)
    wire: Any = here.nodes.layer
    wire.relays.remove(there)
    census = await here.nodes.ask(Census())
    assert census["nodes"] == [here.node]
    assert census["silent"] == [there.node]
    assert census["total"] == 1
    assert not here.nodes.questions


async def test_one_nodes_connections_can_be_asked_for(
    nodes: tuple[Relay, Relay],
) -> None:
    await connect(nodes[0])
    wanted = await connect(nodes[1])
    census = await nodes[0].nodes.ask(Census(node=nodes[1].node))
    assert [row["id"] for row in census["rows"]] == [wanted.connection.id]


async def test_connections_are_ended_on_whichever_node_they_are(
    nodes: tuple[Relay, Relay],
) -> None:
    readers = [await connect(nodes[n % 2]) for n in range(4)]
    ids = tuple(reader.connection.id for reader in readers[:2])
    code = CloseCode.DISCONNECTED_BY_OPERATOR
    result = await nodes[0].nodes.ask(End(code, "enough", Census(ids=ids)))
    assert result["ended"] == 2
    assert {row["id"] for row in result["rows"]} == set(ids)
    for reader in readers[:2]:
        (bye,) = await reader.next()
        assert isinstance(bye, Notice)
        assert (bye.fields["code"], bye.fields["reason"]) == (4503, "enough")
    assert [reader.bye for reader in readers[2:]] == [None, None]
    again = await nodes[0].nodes.ask(End(code, "enough", Census(ids=ids)))
    assert again["ended"] == 0


async def test_all_that_match_are_ended_and_come_back_spread_out(
    nodes: tuple[Relay, Relay],
) -> None:
    chosen = [await connect(nodes[n % 2], "sse") for n in range(6)]
    other = await connect(nodes[0])
    question = End(CloseCode.ASKED_TO_RECONNECT, "please", Census(transport="sse"))
    result = await nodes[0].nodes.ask(question)
    assert result["ended"] == 6
    assert other.bye is None
    byes = [reader.bye.fields for reader in chosen if reader.bye]
    assert all(bye["code"] == 4011 for bye in byes)
    assert len({bye["retry_ms"] for bye in byes}) > 1


def test_a_reason_must_fit_a_close_frame() -> None:
    with pytest.raises(FeedError, match="at most 123 bytes, got 124"):
        End(CloseCode.DISCONNECTED_BY_OPERATOR, "é" * 62)


async def test_nodes_that_cannot_be_asked_are_named_and_their_absence_told(
    nodes: tuple[Relay, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes
    await connect(here)

    async def refuse(*arguments: Any) -> None:
        raise ConnectionError("the channel layer has died")

    monkeypatch.setattr(here.nodes.layer, "group_send", refuse)
    census = await here.nodes.ask(Census())
    assert (census["total"], census["nodes"]) == (1, [here.node])
    assert census["silent"] == [there.node]
    assert not census["alone"]
    here.nodes.up = False
    census = await here.nodes.ask(Census())
    assert (census["total"], census["silent"], census["alone"]) == (1, [], True)


async def test_a_node_that_has_just_come_is_told_of_the_others_first(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Relay(), Relay()
    wire: Any = Wire(old, new)
    for relay in (old, new):
        relay.head = await read_head()
        relay.nodes.layer, relay.nodes.carries = wire, True
    reader = await connect(old)
    await new.nodes.send_pulse()
    new.nodes.acquainted_at = new.loop.time() + 0.01
    census = await new.nodes.ask(Census())
    assert [row["id"] for row in census["rows"]] == [reader.connection.id]
    assert set(new.nodes.known) == {old.node, new.node}


async def test_an_older_versions_words_do_no_harm(nodes: tuple[Relay, Relay]) -> None:
    here = nodes[0]
    known = set(here.nodes.known)
    here.nodes.hear({"type": "feed.pulse", "node": "old", "head": str(here.head)})
    here.nodes.hear({"type": "feed.news", "of": "a newer version"})
    assert set(here.nodes.known) == known
    ask = {"type": "feed.ask", "question": "1", "node": "new"}
    here.nodes.hear(ask | {"kind": "Weather", "fields": {}})
    while here.nodes.replies:
        await asyncio.wait(here.nodes.replies)
