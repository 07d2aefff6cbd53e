"""The hub: finds a topic's readers by their patterns, keeps limits, fans out, drains."""

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from echo.feed import Reader, hub, threads
from echo.feed.cluster import EndConnections
from echo.feed.node import Node
from echo.protocol import CloseCode, NotAllowed, TooMany
from echo.tests.feed.reading import (
    read_numbers,
    subscribe,
    told,
    write,
)
from echo.tests.live import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])

READERS = (
    Reader(),
    Reader("7", username="ada"),
    Reader("1", is_staff=True, username="root"),
)
WORDS = ("news", "eu", "staff", "user", "7")


def pick_topic(chance: random.Random) -> str:
    return ".".join(chance.choices(WORDS, k=chance.randint(1, 3)))


def pick_pattern(chance: random.Random) -> str:
    ending = chance.choice(["", ".*", None])
    return "*" if ending is None else pick_topic(chance) + ending


@pytest.mark.parametrize("seed", range(10))
async def test_the_readers_of_a_topic_are_those_whose_interest_matches(
    node: Node, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(80):
        patterns = {pick_pattern(chance) for _ in range(chance.randint(1, 4))}
        try:
            reader = await subscribe(node, *patterns, reader=chance.choice(READERS))
        except NotAllowed:
            continue
        if chance.random() < 0.2:
            reader.close()
        elif chance.random() < 0.2:
            allowed = reader.interest.allowed_to(Reader())
            node.hub.narrow(reader, allowed)
    everybody = list(node.hub.subscriptions.values())
    assert everybody
    for _ in range(50):
        topic = pick_topic(chance)
        found = list(node.hub.readers(topic))
        assert len(found) == len({reader.connection.id for reader in found})
        wanted = [reader for reader in everybody if reader.interest.matches(topic)]
        assert set(found) == set(wanted), topic
    for reader in everybody:
        reader.close()
    assert not node.hub.by_pattern


async def test_a_pattern_given_twice_counts_once(node: Node) -> None:
    reader = await subscribe(node, "news", "news")
    assert reader.interest.patterns == ("news",)
    reader.close()
    assert not node.hub.by_pattern
    assert node.hub.limits.total == 0


async def test_an_event_for_staff_looks_at_no_visitor(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await subscribe(node, "*")
    staff = await subscribe(node, "*", reader=READERS[2])
    looked_at: list[Reader] = []
    may_read = Reader.may_read

    def noted(self: Reader, topic: str) -> bool:
        looked_at.append(self)
        return may_read(self, topic)

    monkeypatch.setattr(Reader, "may_read", noted)
    assert list(node.hub.readers("staff.x")) == [staff]
    assert looked_at == [READERS[2]]


async def test_a_connection_is_ended_by_one_of_two_operators(node: Node) -> None:
    await subscribe(node, "news")
    end = EndConnections(CloseCode.ASKED_TO_RECONNECT, "please")
    both = await asyncio.gather(end.answer(node.hub), end.answer(node.hub))
    assert sorted(ended.count for ended in both) == [0, 1]


async def test_readers_get_what_they_asked_for_and_may_have(node: Node) -> None:
    visitor = await subscribe(node, "*")
    staff = await subscribe(node, "staff.*", reader=Reader("1", is_staff=True))
    ada = await subscribe(node, "*", reader=Reader("7"))
    node.relay.receive_events(
        await write("news", "staff.ops", "user.7.mail", "user.8.mail")
    )
    assert await read_numbers(visitor) == [1]
    assert await read_numbers(staff) == [2]
    assert await read_numbers(ada) == [1, 3]


async def test_a_reader_who_comes_later_hears_a_topic_known_before(
    node: Node,
) -> None:
    node.relay.receive_events(await write("news"))
    reader = await subscribe(node, "news")
    node.relay.receive_events(await write("news"))
    assert await read_numbers(reader) == [2]


async def test_connections_are_limited_for_each_address(
    node: Node, settings: Settings
) -> None:
    settings.FEED_MAX_CONNECTIONS_PER_ADDRESS = 2
    first = await subscribe(node, address="192.0.2.1")
    await subscribe(node, address="192.0.2.1")
    with pytest.raises(TooMany, match=r"192\.0\.2\.1 has its 2 connections"):
        await subscribe(node, address="192.0.2.1")
    await subscribe(node, address="192.0.2.2")
    first.close()
    await subscribe(node, address="192.0.2.1")


async def test_connections_are_limited_for_the_process(
    node: Node, settings: Settings
) -> None:
    settings.FEED_MAX_CONNECTIONS = 2
    await subscribe(node)
    last = await subscribe(node)
    with pytest.raises(TooMany, match="this node has its 2 connections"):
        await subscribe(node)
    last.close()
    await subscribe(node)


async def test_a_burst_finds_no_more_places_than_there_are(
    node: Node, settings: Settings
) -> None:
    settings.FEED_MAX_CONNECTIONS = 5
    settings.FEED_MAX_CONNECTIONS_PER_ADDRESS = 2
    burst = [
        subscribe(node, since="earliest", address=f"192.0.2.{number % 4}")
        for number in range(40)
    ]
    taken = await asyncio.gather(*burst, return_exceptions=True)
    assert sum(isinstance(one, TooMany) for one in taken) == 35
    assert len(node.hub.subscriptions) == node.hub.limits.by_address.total() == 5
    assert max(node.hub.limits.by_address.values()) <= 2


async def test_everybody_is_told_bye_with_return_times_spread_out(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "DRAIN_SECONDS", 3600.0)
    readers = [await subscribe(node) for _ in range(20)]
    leaving = asyncio.create_task(node.hub.drain())
    byes = [told((await reader.next())[0]) for reader in readers]
    for reader in readers:
        reader.close()
    await asyncio.wait_for(leaving, PATIENCE_SECONDS)
    assert {bye["code"] for bye in byes} == {CloseCode.SHUTDOWN}
    assert len({bye["retry_ms"] for bye in byes}) > 10


async def test_who_comes_during_the_farewell_is_told_too(node: Node) -> None:
    await node.hub.drain()
    late = await subscribe(node)
    assert told((await late.next())[0])["code"] == CloseCode.SHUTDOWN


async def test_an_event_is_encoded_once_and_costs_no_database_and_no_task(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [await subscribe(node, "news") for _ in range(50)]
    events = await write(*["news"] * 20)
    calls: Counter[str] = Counter()

    def counting(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(json, "dumps", counting("json", json.dumps))
    for job in threads.JOBS:
        submit = counting("thread", job.executor.submit)
        monkeypatch.setattr(job.executor, "submit", submit)
    monkeypatch.setattr(asyncio, "create_task", counting("task", asyncio.create_task))
    with connection.execute_wrapper(
        lambda execute, *rest: counting("query", execute)(*rest)
    ):
        node.relay.receive_events(events)
        frames = [await reader.next() for reader in readers]
        wires = {(id(frame.message), id(frame.sse)) for got in frames for frame in got}
    assert [len(got) for got in frames] == [20] * 50
    assert len(wires) == 20
    assert calls == {}
