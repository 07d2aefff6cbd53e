"""The hub: who reads a topic is found by its patterns, each reader once."""

import random

import pytest

from echo.feed import Reader
from echo.feed.node import Node
from echo.protocol import NotAllowed
from echo.tests.feed.reading import subscribe

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
