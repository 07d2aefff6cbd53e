"""Writes the same burst of messages to a plain TCP connection and to a WebSocket.

TCP is a stream of bytes (RFC 9293 section 3.8): what a ``recv`` gives depends on when it is
called and on the size of its buffer, not on what was written at once. A WebSocket frame has
its length in front, so the messages come out as they went in, whatever the reads were.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from websockets.frames import Frame, Opcode

from echo.client.frames import FrameParser
from echo.lab import loopback
from echo.lab.bounds import LabError, Slots, address_of, one_of, whole_number

MAX_MESSAGES = 50
MAX_MESSAGE_BYTES = 2048
MAX_PAUSE_MS = 100
MAX_BUFFER_BYTES = 65536
MAX_READS = 1000
# Longer than all pauses of both connections.
MAX_SECONDS = 20.0
RUNNING = Slots(10, per_address=3)
# The frame's head and masking key at these sizes (RFC 6455 section 5.2).
MAX_HEADER_BYTES = 8
# The share of the chosen size that each message of mixed sizes has, in turn.
MIXED = (1.0, 0.25, 0.6, 0.1)

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Burst:
    """The messages to write, and how they are written and read."""

    sizes: tuple[int, ...]  # of each message, in bytes
    pause_seconds: float  # between two of them
    buffer_bytes: int  # the most that one read takes

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Burst":
        """Return the burst that a visitor has chosen. Raises LabError."""
        count = whole_number(settings, "count", 1, MAX_MESSAGES, 10)
        size = whole_number(settings, "size", 1, MAX_MESSAGE_BYTES, 40)
        shares = one_of(settings, "sizes", ("equal", "mixed"), "mixed") == "mixed"
        pause = whole_number(settings, "pause", 0, MAX_PAUSE_MS, 0)
        buffer = whole_number(settings, "buffer", 1, MAX_BUFFER_BYTES, 64)
        sizes = tuple(
            max(1, int(size * (MIXED[at % len(MIXED)] if shares else 1)))
            for at in range(count)
        )
        if sum(sizes) + count * MAX_HEADER_BYTES > buffer * MAX_READS:
            raise LabError(
                _(
                    "expected at most %(reads)s reads, got a buffer of %(buffer)s bytes "
                    "for %(bytes)s: make it larger, or send less"
                )
                % {"reads": MAX_READS, "buffer": buffer, "bytes": sum(sizes)}
            )
        return cls(sizes, pause / 1000, buffer)

    def messages(self) -> list[bytes]:
        """Return the messages: as, bs, cs, and so on."""
        return [
            bytes([ord("a") + at % 26]) * size for at, size in enumerate(self.sizes)
        ]


async def compare(scope: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Send the burst over both, and return what each read gave."""
    burst = Burst.from_settings(settings)
    with RUNNING.slot(address_of(scope)):
        return {
            "messages": burst.sizes,
            "tcp": await over_tcp(burst),
            "websocket": await over_websocket(scope, burst),
        }


async def over_tcp(burst: Burst) -> dict[str, Any]:
    """Write the messages to a plain TCP connection; return the size of each read."""
    reads = []
    left = sum(burst.sizes)
    async with (
        loopback.plain_pair(MAX_SECONDS) as (writer, reader),
        writing(writer.send, burst.messages(), burst.pause_seconds),
    ):
        while left:
            data = await reader.recv(burst.buffer_bytes)
            if not data:
                raise EOFError("the end of the stream")
            reads.append(len(data))
            left -= len(data)
    return {"reads": reads}


async def over_websocket(scope: Any, burst: Burst) -> dict[str, Any]:
    """Send the messages to this site's echo; return each read and each message."""
    reads: list[int] = []
    messages: list[bytes] = []
    frames = [
        Frame(Opcode.BINARY, message).serialize(mask=True)
        for message in burst.messages()
    ]
    async with loopback.connect(scope, MAX_SECONDS) as connection:
        response = await loopback.open_websocket(connection)
        parser = FrameParser()
        parser.feed(response.body)
        async with writing(connection.send, frames, burst.pause_seconds):
            while len(messages) < len(frames):
                data = await connection.recv(burst.buffer_bytes)
                if not data:
                    raise EOFError("the end of the stream")
                reads.append(len(data))
                messages += [frame.payload for frame in parser.feed(data)]
        await connection.send(loopback.CLOSE_FRAME)
    return {
        "reads": reads,
        "messages": [len(message) for message in messages],
        "intact": messages == burst.messages(),
    }


@contextlib.asynccontextmanager
async def writing(
    send: Send, pieces: list[bytes], pause_seconds: float
) -> AsyncIterator[None]:
    """Write the pieces, with a pause between two, while the block reads."""
    task = asyncio.create_task(write(send, pieces, pause_seconds), name="burst")
    try:
        yield
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def write(send: Send, pieces: list[bytes], pause_seconds: float) -> None:
    for at, piece in enumerate(pieces):
        if at and pause_seconds:
            await asyncio.sleep(pause_seconds)
        await send(piece)
