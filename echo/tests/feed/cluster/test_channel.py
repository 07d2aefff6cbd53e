"""A node's channel: what it receives, and a layer that fails or hangs."""

import asyncio

import pytest
from channels.layers import InMemoryChannelLayer

from echo.feed.doorbell import pack_events
from echo.feed.node import Node
from echo.tests.feed.reading import (
    read_numbers,
    subscribe,
    until,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])


class Carrier(InMemoryChannelLayer):
    """A layer that is not the one of a lone process: its doorbells count."""


@pytest.fixture
async def carried(node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    node.cluster.channel.layer = Carrier()
    node.cluster.channel.reaches_others = True
    return node


async def test_a_doorbell_brings_the_events_themselves(carried: Node) -> None:
    reader = await subscribe(carried)
    events = await write("news", "staff.x", "news")
    carried.cluster.dispatch(pack_events(events, 0.0))
    assert await read_numbers(reader) == [1, 3]


async def test_a_doorbell_with_too_much_to_carry_says_look(
    carried: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await write("news", "news")
    monkeypatch.setattr("echo.feed.doorbell.MAX_MESSAGE_BYTES", 100)
    assert pack_events(events, 0.0) == {"type": "feed.look"}
    carried.cluster.dispatch(pack_events(events, 0.0))
    assert carried.relay.look.is_set()


async def test_a_pulse_lists_the_node_and_shows_a_doorbell_that_was_missed(
    carried: Node,
) -> None:
    pulse = carried.cluster.stats.state().pulse()
    carried.cluster.dispatch(pulse | {"node": "other"})
    assert set(carried.cluster.presence.known) == {"other"}
    assert not carried.relay.look.is_set()
    ahead = {
        "type": "feed.pulse",
        "node": "other",
        "head": f"{carried.history.head.epoch}-9",
    }
    carried.cluster.dispatch(ahead)
    assert carried.relay.look.is_set()


async def test_a_listener_that_ends_leaves_its_group(carried: Node) -> None:
    assert isinstance(carried.cluster.channel.layer, Carrier)
    groups = carried.cluster.channel.layer.groups
    listening = asyncio.create_task(carried.cluster.keep_receiving())
    await until(lambda: groups.get(carried.cluster.channel.group))
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert not groups.get(carried.cluster.channel.group)


async def test_a_silent_layer_is_down_and_back_with_its_first_sound(
    carried: Node, caplog: pytest.LogCaptureFixture
) -> None:
    carried.cluster.channel.received_at = carried.loop.time()
    carried.cluster.channel.is_up = False
    assert carried.cluster.channel.state == "down"
    carried.cluster.dispatch({"type": "feed.look"})
    assert carried.cluster.channel.state == "up"
    assert carried.relay.look.is_set()


class Faulty(Carrier):
    """Notes a member before it is subscribed, as channels_redis.pubsub does, and may fail."""

    is_failing = False
    gate: asyncio.Event | None = None

    async def group_add(self, group: str, channel: str) -> None:
        await super().group_add(group, channel)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_failing:
            raise ConnectionError("connection refused")


@pytest.fixture
def faulty(carried: Node) -> Faulty:
    layer = Faulty()
    carried.cluster.channel.layer = layer
    return layer


async def test_a_join_that_fails_leaves_no_member_behind(
    carried: Node, faulty: Faulty
) -> None:
    faulty.is_failing = True
    with pytest.raises(ConnectionError):
        await carried.cluster.channel.open()
    await carried.cluster.channel.close()
    assert not any(faulty.groups.values())


async def test_a_layer_that_hangs_is_given_up_in_time(
    carried: Node, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo.feed.cluster.channel.SEND_TIMEOUT_SECONDS", 0.01)
    faulty.gate = asyncio.Event()
    with pytest.raises(TimeoutError):
        await carried.cluster.channel.open()


async def test_a_channel_closed_while_it_joins_is_not_taken_for_the_next(
    carried: Node, faulty: Faulty
) -> None:
    channel = carried.cluster.channel
    faulty.gate = asyncio.Event()
    opening = asyncio.create_task(channel.open())
    await until(lambda: any(faulty.groups.values()))
    await channel.close()
    faulty.gate.set()
    await opening
    assert not any(faulty.groups.values())
    await channel.open()
    assert set(faulty.groups[channel.group]) == {channel.name}


async def test_a_message_of_another_version_costs_nothing_but_itself(
    carried: Node, faulty: Faulty
) -> None:
    receiving = asyncio.create_task(carried.cluster.keep_receiving())
    await until(lambda: faulty.groups.get(carried.cluster.channel.group))
    carried.relay.look.clear()
    await carried.cluster.channel.send({"type": "feed.pulse"})
    await carried.cluster.channel.send({"type": "feed.look"})
    await until(carried.relay.look.is_set)
    assert not receiving.done()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
