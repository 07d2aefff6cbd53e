"""The misbehaving echo, with the test's own receive and send."""

import asyncio
from typing import Any

import pytest

from echo.knobs import Knobs
from echo.messages import CloseFrame
from echo.misbehave import MAX_WAITING_MESSAGES, Misbehaviour
from echo.tests.live import PATIENCE_SECONDS

CAP = 1024 * 1024
NORMAL = {"type": "websocket.disconnect", "code": 1000}


class Peer:
    """The server's side of one connection: messages in, events out."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[Any] = []
        self.received = 0
        self.reads = asyncio.Event()
        self.reads.set()

    def says(self, *payloads: str | bytes) -> None:
        for payload in payloads:
            key = "text" if isinstance(payload, str) else "bytes"
            self.incoming.put_nowait({"type": "websocket.receive", key: payload})

    def leaves(self) -> None:
        self.incoming.put_nowait(NORMAL)

    async def receive(self) -> dict[str, Any]:
        event = await self.incoming.get()
        self.received += 1
        return event

    async def send(self, event: dict[str, Any]) -> None:
        await self.reads.wait()
        payload = event.get("text")
        self.sent.append(event["bytes"] if payload is None else payload)


@pytest.fixture
def peer() -> Peer:
    return Peer()


def misbehaviour(peer: Peer, query: str) -> Misbehaviour:
    knobs = Knobs.from_query(query.encode(), max_message_size=CAP)
    return Misbehaviour(knobs, knobs.random_generator(), peer.receive, peer.send)


async def converse(peer: Peer, query: str) -> CloseFrame | None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await misbehaviour(peer, query).run()


async def until_idle() -> None:
    """Let every task run that does not wait for time to pass."""
    for _ in range(20 * MAX_WAITING_MESSAGES):
        await asyncio.sleep(0)


async def test_a_client_that_leaves_ends_the_conversation_without_a_code(
    peer: Peer,
) -> None:
    peer.says("one", b"two")
    peer.leaves()
    assert await converse(peer, "mute_after=5") is None
    assert peer.sent == ["one", b"two"]


async def test_messages_after_mute_after_stay_unanswered(peer: Peer) -> None:
    peer.says("one", "two", "three")
    peer.leaves()
    await converse(peer, "mute_after=1")
    assert peer.sent == ["one"]


async def test_the_ending_is_the_close_code_and_reason(peer: Peer) -> None:
    peer.says("one", "two", "three")
    query = "close_after=2&close_code=4001&close_reason=enough"
    assert await converse(peer, query) == (4001, "enough")
    assert peer.sent == ["one", "two"]


async def test_a_drop_ends_without_a_code_after_what_was_due(peer: Peer) -> None:
    peer.says("one", "two", "three")
    assert await converse(peer, "drop_after=2&delay=10ms") is None
    assert peer.sent == ["one", "two"]


async def test_a_drop_after_none_sends_nothing(peer: Peer) -> None:
    peer.says("one")
    assert await converse(peer, "drop_after=0") is None
    assert peer.sent == []


async def test_a_message_over_the_cap_ends_with_1009(peer: Peer) -> None:
    peer.says("1234", "12345")
    ending = await converse(peer, "max_message_size=4&mute_after=9")
    assert ending == (1009, "message of 5 bytes exceeds 4 bytes")
    assert peer.sent == ["1234"]


async def test_a_message_over_the_rate_ends_with_1008(peer: Peer) -> None:
    peer.says("one", "two", "three")
    run = misbehaviour(peer, "rate=2")
    run.clock = lambda: 0.0
    async with asyncio.timeout(PATIENCE_SECONDS):
        ending = await run.run()
    assert ending == (1008, "more than 2 messages in a second")
    assert peer.sent == ["one", "two"]


async def test_the_reader_is_held_back_while_256_messages_wait(peer: Peer) -> None:
    peer.says(*(str(number) for number in range(1000)))
    task = asyncio.create_task(misbehaviour(peer, "delay=10s").run())
    await until_idle()
    # 256 wait, and one more has been read and found no room.
    assert peer.received == MAX_WAITING_MESSAGES + 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_reader_is_held_back_while_a_mebibyte_waits(peer: Peer) -> None:
    peer.says(*(bytes(CAP // 4) for _ in range(8)))
    task = asyncio.create_task(misbehaviour(peer, "delay=10s").run())
    await until_idle()
    assert peer.received == 5
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_reader_is_held_back_by_a_client_that_does_not_read(
    peer: Peer,
) -> None:
    peer.reads.clear()
    peer.says(*(str(number) for number in range(1000)))
    task = asyncio.create_task(misbehaviour(peer, "delay=1ms").run())
    await until_idle()
    assert peer.received <= MAX_WAITING_MESSAGES + 1
    peer.reads.set()
    peer.leaves()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await task


async def test_the_same_seed_gives_the_same_delays(peer: Peer) -> None:
    def delays(seed: int) -> list[float]:
        run = misbehaviour(peer, f"delay=1s&jitter=0.5&seed={seed}")
        run.clock = lambda: 0.0
        return [run.reply(number, "x").due for number in range(50)]

    assert delays(1) == delays(1) != delays(2)
    assert all(0.5 <= delay <= 1.5 for delay in delays(1))


async def test_an_exception_in_send_is_raised_and_leaves_no_task(peer: Peer) -> None:
    async def broken(event: dict[str, Any]) -> None:
        raise ConnectionResetError("the client has gone")

    peer.says("one")
    run = misbehaviour(peer, "delay=1ms")
    run.send = broken
    before = asyncio.all_tasks()
    with pytest.raises(ConnectionResetError, match="the client has gone"):
        await run.run()
    assert asyncio.all_tasks() == before
