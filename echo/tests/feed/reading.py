"""Reads the feed in a test, and knows whether what it read is whole."""

import asyncio
from collections.abc import Sequence
from typing import Any

from echo.feed import (
    Connection,
    Event,
    Frame,
    Notice,
    Reader,
    Subscription,
    log,
    replay,
    retention,
)
from echo.feed.access import Interest
from echo.feed.log import Entry
from echo.feed.node import Node
from echo.feed.threads import history
from echo.protocol import EventId
from echo.tests.live import PATIENCE_SECONDS

append = history.wrap(log.append)
page = history.wrap(replay.page)
prune = history.wrap(retention.prune)


async def write(*topics: str, data: str = "1") -> list[Event]:
    """Commit events without a doorbell; return them."""
    events, _ = await append([Entry(topic, data) for topic in topics])
    return list(events)


async def subscribe(
    node: Node,
    *patterns: str,
    since: object = "now",
    reader: Reader | None = None,
    address: str = "",
) -> Subscription:
    return await node.subscribe(
        Interest(patterns or ("*",), reader or Reader()),
        str(since),
        Connection("test", address),
        heartbeat_seconds=20,
    )


async def read(subscription: Subscription) -> list[Frame]:
    """Return all frames that are due."""
    frames: list[Frame] = []
    while more := await subscription.ready():
        frames += more
    return frames


async def read_numbers(subscription: Subscription) -> list[int]:
    """Return the numbers of the events that are due; fail on any other frame."""
    return numbers(await read(subscription))


def numbers(frames: Sequence[Frame]) -> list[int]:
    assert all(isinstance(frame, Event) for frame in frames), frames
    return [frame.number for frame in frames if isinstance(frame, Event)]


def told(frame: Frame) -> dict[str, Any]:
    """Return the fields of a notice."""
    assert isinstance(frame, Notice), frame
    return frame.fields


async def until(condition: Any) -> None:
    """Let other tasks run until the condition holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 -- any condition, not one event
            await asyncio.sleep(0.001)


class Transcript:
    """The frames that one reader was given, checked one by one.

    Each event must be after the one before, and name as ``previous`` the last one of
    its topic: so a hole, a double or a swap fails at once.
    """

    def __init__(self, cursor: EventId) -> None:
        self.began = self.cursor = cursor
        self.seen: list[int] = []
        self.latest: dict[str, int] = {}
        self.resets: list[dict[str, Any]] = []

    def take(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            if isinstance(frame, Event):
                self.take_event(frame)
            elif frame.type == "reset":
                self.resets.append(told(frame))
                self.latest.clear()
            if frame.cursor is not None:
                assert frame.cursor.number >= self.cursor.number or self.resets
                self.cursor = frame.cursor

    def take_event(self, event: Event) -> None:
        assert event.epoch == self.cursor.epoch
        assert event.number > self.cursor.number, f"{event.number} was there before"
        before = self.latest.get(event.topic)
        if before is None:  # the first of its topic for this reader
            assert (event.previous or 0) <= self.began.number or self.resets
        else:
            assert event.previous == before
        self.latest[event.topic] = event.number
        self.seen.append(event.number)
