"""Who is connected: asked of every node, answered with a page and a total."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from echo.feed import Connection, Interest, Question, Reader, Relay, Subscription
from echo.feed.relay import read_head


class Wire:
    """A channel layer that carries each message to all relays, as bytes, as Redis would."""

    def __init__(self, *relays: Relay) -> None:
        self.relays = list(relays)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for relay in self.relays:
            relay.nodes.hear(json.loads(json.dumps(message)))


@pytest.fixture
async def nodes(transactional_db: None) -> AsyncIterator[tuple[Relay, Relay]]:
    """Two nodes that have heard each other's pulse."""
    relays = Relay(), Relay()
    wire: Any = Wire(*relays)
    for relay in relays:
        relay.head = await read_head()
        relay.nodes.layer, relay.nodes.carries = wire, True
    for relay in relays:
        await relay.nodes.send_pulse()
    yield relays
    for relay in relays:
        for subscription in list(relay.subscriptions.values()):
            subscription.close()


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
    census = await relay.nodes.census(Question())
    assert census["total"] == 1
    assert census["nodes"] == [relay.node]
    row = census["connections"][0]
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
        census = await asked.nodes.census(Question())
        assert census["total"] == 2
        assert census["nodes"] == sorted([here.node, there.node])
        assert [row["id"] for row in census["connections"]] == [
            first.connection.id,
            second.connection.id,
        ]


async def test_a_page_is_cut_from_all_nodes_rows_in_order(
    nodes: tuple[Relay, Relay],
) -> None:
    readers = [await connect(nodes[n % 2], since=float(n)) for n in range(10)]
    census = await nodes[0].nodes.census(Question(offset=4, limit=3))
    assert census["total"] == 10
    assert [row["id"] for row in census["connections"]] == [
        reader.connection.id for reader in readers[4:7]
    ]


@pytest.mark.parametrize(
    "question",
    [
        Question(transport="sse"),
        Question(search="FIREFOX"),
        Question(search="192.0.2.7"),
        Question(search="news.eu"),
        Question(search="bob"),
    ],
)
async def test_connections_are_found_by_transport_and_words(
    nodes: tuple[Relay, Relay], question: Question
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
    census = await nodes[0].nodes.census(question)
    assert census["total"] == 1
    assert census["connections"][0]["id"] == wanted.connection.id


async def test_a_node_that_does_not_answer_is_not_waited_for_long(
    nodes: tuple[Relay, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes
    monkeypatch.setattr("echo.feed.nodes.CENSUS_SECONDS", 0.05)
    await connect(here)
    wire: Any = here.nodes.layer
    wire.relays.remove(there)
    census = await here.nodes.census(Question())
    assert census["nodes"] == [here.node]
    assert census["total"] == 1
    assert not here.nodes.questions
