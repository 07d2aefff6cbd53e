"""Handing out: one write for each reader, or else its transport takes what it is due."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from echo.feed import (
    Connection,
    Event,
    Frame,
    Notice,
    Reader,
    Subscription,
    hub,
    sse_chunk,
    subscription,
    websocket_chunk,
)
from echo.feed.access import Interest
from echo.feed.event import MAX_CHUNK_BYTES
from echo.feed.node import Node
from echo.feed.subscription import Encode
from echo.protocol import CloseCode
from echo.tests.feed.reading import numbers, until, write

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])


EVENT_NUMBER = re.compile(rb'"id":"[^"-]+-(\d+)"')


class Client:
    """A reader, its transport's task, and what has gone to it by which way."""

    def __init__(self) -> None:
        self.has_room = True
        # Have the connection fail, and whether it was cut then.
        self.fails = self.is_cut = False
        # What was written at once.
        self.written: list[bytes] = []
        # What the transport took by itself.
        self.taken: list[Frame] = []
        # The numbers of all events, in the order in which they went out.
        self.numbers: list[int] = []
        # Let the transport go on after it has taken frames.
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        # Its rights are checked again before each frame.
        self.is_slow = False
        self.subscription: Subscription

    def write(self, data: bytes) -> bool:
        if self.fails:
            raise RuntimeError("no write")
        if self.has_room:
            self.written.append(data)
            self.numbers += [int(number) for number in EVENT_NUMBER.findall(data)]
        return self.has_room

    def cut(self) -> None:
        self.is_cut = True

    async def carry(self) -> None:
        while not self.subscription.is_over:
            for frame in await self.subscription.next():
                if self.is_slow:
                    assert await self.subscription.may_send(frame)
                self.taken.append(frame)
                if isinstance(frame, Event):
                    self.numbers.append(frame.number)
                await self.may_go_on.wait()

    @property
    def is_waiting(self) -> bool:
        arrival = self.subscription.arrival
        return arrival is not None and not arrival.done()


Open = Callable[..., Any]


@pytest.fixture
async def open_client(node: Node) -> AsyncIterator[Open]:
    """Open a client and wait until its transport waits: ``await open_client("news")``."""

    @asynccontextmanager
    async def client(
        *patterns: str,
        encode: Encode | None = websocket_chunk,
        since: object = "now",
    ) -> AsyncIterator[Client]:
        self = Client()
        self.subscription = await node.subscribe(
            Interest(patterns, Reader()),
            str(since),
            Connection("websocket", write=self.write, cut=self.cut),
            heartbeat_seconds=20,
        )
        self.subscription.encode = encode
        carrying = asyncio.create_task(self.carry())
        await until(lambda: self.is_waiting)
        try:
            yield self
        finally:
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)
            self.subscription.close()

    async with AsyncExitStack() as clients:

        async def opened(*patterns: str, **options: Any) -> Client:
            return await clients.enter_async_context(client(*patterns, **options))

        yield opened


async def test_all_that_is_due_is_one_write_of_bytes_that_all_share(
    node: Node, open_client: Open
) -> None:
    clients = [await open_client("news") for _ in range(3)]
    streams = [await open_client("news", encode=sse_chunk) for _ in range(3)]
    events = await write(*["news"] * 10)
    node.relay.receive_events(events)
    for same, chunk in (
        (clients, websocket_chunk(events)),
        (streams, sse_chunk(events)),
    ):
        assert [client.written for client in same] == [[chunk.data]] * 3
        assert len({id(client.written[0]) for client in same}) == 1
    for client in clients + streams:
        assert client.subscription.position == client.subscription.cursor
        assert client.subscription.cursor == events[-1].id
        assert client.taken == []
        assert client.is_waiting


async def test_each_gets_the_events_of_its_topics_in_their_order(
    node: Node, open_client: Open
) -> None:
    everything = await open_client("*")
    both = await open_client("b", "a")
    one = await open_client("a")
    none = await open_client("d")
    events = await write("a", "b", "a", "c", "b")
    node.relay.receive_events(events)
    a, b, a2, _, b2 = events
    assert everything.written == [websocket_chunk(events).data]
    assert both.written == [websocket_chunk([a, b, a2, b2]).data]
    assert one.written == [websocket_chunk([a, a2]).data]
    assert none.written == []


async def test_a_full_connection_is_left_to_its_transport(
    node: Node, open_client: Open
) -> None:
    client = await open_client("news")
    client.has_room = False
    client.may_go_on.clear()
    node.relay.receive_events(await write("news", "news"))
    await until(lambda: client.taken)
    client.has_room = True  # but the transport is in the middle of a `send`
    node.relay.receive_events(await write("news"))
    assert client.written == []
    client.may_go_on.set()
    await until(lambda: client.is_waiting)
    assert numbers(client.taken) == [1, 2, 3]
    node.relay.receive_events(await write("news"))
    assert len(client.written) == 1


async def test_without_an_encoding_the_transport_takes_all(
    node: Node, open_client: Open
) -> None:
    client = await open_client("news", encode=None)
    node.relay.receive_events(await write("news", "news"))
    await until(lambda: client.is_waiting)
    assert numbers(client.taken) == [1, 2]
    assert client.written == []


async def test_more_than_a_chunk_is_left_to_the_transport(
    node: Node, open_client: Open
) -> None:
    client = await open_client("news")
    data = '"' + "x" * (MAX_CHUNK_BYTES // 2) + '"'
    node.relay.receive_events(await write("news", "news", data=data))
    assert client.written == []
    await until(lambda: client.is_waiting)
    assert numbers(client.taken) == [1, 2]


async def test_a_notice_goes_before_the_events(node: Node, open_client: Open) -> None:
    client = await open_client("news")
    client.subscription.end(CloseCode.ASKED_TO_RECONNECT, "please")
    node.relay.receive_events(await write("news"))
    assert client.written == []
    await until(lambda: client.subscription.is_over)
    assert [frame.type for frame in client.taken] == ["bye"]


async def test_a_reader_who_is_being_judged_is_written_nothing(
    node: Node, open_client: Open
) -> None:
    client = await open_client("news")
    client.subscription.hold()
    node.relay.receive_events(await write("news"))
    await until(lambda: client.is_waiting)
    assert (client.written, client.taken) == ([], [])
    client.subscription.release()
    await until(lambda: client.taken)
    node.relay.receive_events(await write("news"))
    await until(lambda: client.is_waiting)
    assert numbers(client.taken) + [2] * len(client.written) == [1, 2]


async def test_a_reader_who_was_behind_is_written_to_once_it_is_live(
    node: Node, open_client: Open
) -> None:
    first, *_ = await write("news", "news", "news")
    await node.relay.catch_up()
    client = await open_client("news", since=first.id)
    assert numbers(client.taken) == [2, 3]
    node.relay.receive_events(await write("news"))
    assert len(client.written) == 1


async def test_others_have_their_turn_between_the_writes(
    node: Node, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "WRITES_A_TURN", 2)
    clients = [await open_client("news") for _ in range(5)]
    events = await write("news", "news")

    def written() -> list[int]:
        return [len(client.written) for client in clients]

    node.relay.receive_events(events[:1])
    assert written() == [1, 1, 0, 0, 0]
    node.relay.receive_events(events[1:])
    assert written() == [1, 1, 0, 0, 0]  # in their turn, with what has come since
    await asyncio.sleep(0)
    assert written() == [1, 1, 1, 1, 0]
    await until(lambda: not node.hub.due)
    assert written() == [2, 2, 1, 1, 1]
    whole = websocket_chunk(events).data
    assert [b"".join(client.written) for client in clients] == [whole] * 5


async def test_a_write_that_fails_holds_up_nobody_else(
    node: Node, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "WRITES_A_TURN", 1)
    clients = [await open_client("news") for _ in range(3)]
    clients[1].fails = True
    node.relay.receive_events(await write("news"))
    await until(lambda: not node.hub.due)
    node.relay.receive_events(await write("news"))
    await until(lambda: not node.hub.due)
    assert clients[0].numbers == clients[2].numbers == [1, 2]
    assert [client.is_cut for client in clients] == [False, True, False]


async def test_a_reader_who_leaves_before_its_turn_is_written_nothing(
    node: Node, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "WRITES_A_TURN", 1)
    _, gone, narrowed = [await open_client("news", "other") for _ in range(3)]
    node.relay.receive_events(await write("news"))
    gone.subscription.close()
    node.hub.narrow(narrowed.subscription, Interest(("other",), Reader()))
    await until(lambda: not node.hub.due)
    assert (gone.written, narrowed.written) == ([], [])


async def test_nothing_overtakes_what_the_transport_has_taken_meanwhile(
    node: Node, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "WRITES_A_TURN", 1)
    _, _, client = [await open_client("news") for _ in range(3)]
    client.may_go_on.clear()
    node.relay.receive_events(await write("news"))
    client.subscription.notify(Notice("heartbeat"))
    await until(lambda: not node.hub.due)
    assert [frame.type for frame in client.taken] == ["heartbeat"]
    assert client.written == []
    client.may_go_on.set()
    await until(lambda: client.numbers == [1])


async def test_nothing_overtakes_frames_that_waited_for_a_judgement(
    node: Node, open_client: Open
) -> None:
    client = await open_client("news")
    client.has_room = False
    client.is_slow = True
    client.may_go_on.clear()
    node.relay.receive_events(await write("news", "news"))
    await until(lambda: client.numbers == [1])
    client.subscription.hold()
    client.may_go_on.set()
    await until(lambda: client.is_waiting)  # with the second event in hand
    client.has_room = True
    third = await write("news")
    client.subscription.release()
    node.relay.receive_events(third)
    await until(lambda: len(client.numbers) == 3)
    assert client.numbers == [1, 2, 3]


async def test_live_events_wait_for_the_past_of_a_reader_who_was_judged(
    node: Node, open_client: Open
) -> None:
    client = await open_client("news")
    first, second = await write("news", "news")
    client.subscription.hold()
    client.subscription.fall_behind()
    node.relay.receive_events([first])  # to be found in the log
    client.subscription.register()
    client.subscription.release()
    node.relay.receive_events([second])
    assert client.written == []
    await until(lambda: client.numbers == [1, 2])


async def test_a_written_event_is_counted_as_delivered(
    node: Node, open_client: Open
) -> None:
    clients = [await open_client("news") for _ in range(3)]
    clients[0].has_room = False
    clients[0].may_go_on.clear()
    node.hub.tallies.wants_sample = True
    (event,) = await write("news")
    node.relay.receive_events([event])
    tally = node.hub.tallies.find(event.id)
    assert tally is not None
    assert (tally.offered, tally.delivered) == (3, 2)
    assert isinstance(event, Event)


async def test_a_write_puts_off_the_heartbeat(node: Node, open_client: Open) -> None:
    client = await open_client("news")
    before = client.subscription.active_at
    await until(lambda: asyncio.get_running_loop().time() > before)
    node.relay.receive_events(await write("news"))
    assert client.subscription.active_at > before


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_happens_everybody_gets_all_events_in_order(
    node: Node, open_client: Open, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(hub, "WRITES_A_TURN", 3)
    monkeypatch.setattr(subscription, "MAX_QUEUED_EVENTS", 20)
    topics = ("a", "a.b", "c")
    interests = (("*",), ("a.*",), ("a",), ("c", "a"))
    clients = [await open_client(*interests[number % 4]) for number in range(12)]
    events: list[Event] = []
    for _ in range(150):
        client = chance.choice(clients)
        action = chance.random()
        if action < 0.5:
            some = await write(*chance.choices(topics, k=chance.randint(1, 8)))
            node.relay.receive_events(some)
            events += some
        elif action < 0.6:
            client.has_room = not client.has_room
        elif action < 0.7:
            client.may_go_on.clear()
        elif action < 0.8:
            client.may_go_on.set()
        elif action < 0.9:
            client.subscription.hold()
        else:
            client.subscription.release()
        await asyncio.sleep(0)
    for client in clients:
        client.may_go_on.set()
        client.subscription.release()
    for client in clients:
        interest = client.subscription.interest
        due = [event.number for event in events if interest.matches(event.topic)]
        await until(lambda client=client, due=due: len(client.numbers) >= len(due))
        assert client.numbers == due
    assert any(client.written for client in clients)
    assert any(client.taken for client in clients)
