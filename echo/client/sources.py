"""The sources of messages: the clock, the command line, standard input, or a prompt.

Every source has ``next``, which can be cancelled without losing a message: the message is
sent after the reconnect.
"""

import asyncio
import base64
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from itertools import chain, repeat
from typing import Protocol

from echo.client.errors import ClientError, ExitCode

Payload = str | bytes
READ_BYTES = 64 * 1024
# Pieces of input to read ahead of the sender; the rest stays in the pipe.
MAX_BATCHES_AHEAD = 2


class Form(Enum):
    """How the user writes a message: as text, or as binary in one of three ways."""

    TEXT = "text"
    BINARY = "binary"
    HEX = "hexadecimal"
    BASE64 = "base64"


def encode(written: bytes, form: Form) -> Payload:
    """Return the message for what the user wrote. Raises ClientError."""
    try:
        if form is Form.TEXT:
            return written.decode()
        if form is Form.BINARY:
            return written
        if form is Form.HEX:
            return bytes.fromhex(written.decode())
        return base64.b64decode(written, validate=True)
    except ValueError:
        shown = ascii(written[:40])[1:]
        remedy = "; --binary sends bytes as they are" if form is Form.TEXT else ""
        wanted = "UTF-8 text" if form is Form.TEXT else form.value
        raise ClientError(
            ExitCode.USAGE, f"message: expected {wanted}, got {shown}{remedy}"
        ) from None


def now(precision: str = "microseconds") -> str:
    """Return the current time as RFC 3339 text."""
    return datetime.now(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


class Source(Protocol):
    """A source of the messages to send."""

    async def next(self) -> Payload | None:
        """Return the next message, or None after the last one."""


class Clock:
    """The current time, ``count`` times or without end, as gorilla's client sends it."""

    def __init__(self, form: Form, count: int | None) -> None:
        self._form = form  # text or binary
        self._left = count  # messages still to come; None: without end

    async def next(self) -> Payload | None:
        if self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        time = now()
        return time if self._form is Form.TEXT else time.encode()


class Listed:
    """The given messages, one after another, ``count`` times over."""

    def __init__(self, messages: list[Payload], count: int) -> None:
        # Still to come.
        self._messages = chain.from_iterable(repeat(messages, count))

    async def next(self) -> Payload | None:
        return next(self._messages, None)


class Lines:
    """Each line of a file descriptor, without its line end, as one message.

    A thread reads, because asyncio cannot wait for regular files, and a terminal that is
    set non-blocking would make our own output fail. It is a daemon thread: a read that
    never returns does not keep the process alive.
    """

    def __init__(self, descriptor: int, form: Form) -> None:
        self._descriptor = descriptor  # read by the thread alone
        self._form = form  # text or binary
        self._lines: deque[bytes] = deque()  # of the current batch
        # From the thread; the empty batch is the end.
        self._batches: asyncio.Queue[list[bytes]] = asyncio.Queue()
        # Bounds the batches: the thread acquires it for each, `next` releases it.
        self._room = threading.Semaphore(MAX_BATCHES_AHEAD)
        self._started = False  # the thread runs
        self._ended = False  # the empty batch has come

    async def next(self) -> Payload | None:
        if not self._started:
            self._started = True
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._read, args=(loop,), daemon=True).start()
        while not self._lines and not self._ended:
            batch = await self._batches.get()
            self._room.release()
            self._lines.extend(batch)
            self._ended = not batch
        return encode(self._lines.popleft(), self._form) if self._lines else None

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read in the thread, and hand the batches to the event loop."""
        # The loop is closed if the run ends before the input does.
        with suppress(RuntimeError):
            for batch in read_lines(self._descriptor):
                self._room.acquire()
                loop.call_soon_threadsafe(self._batches.put_nowait, batch)


def read_lines(descriptor: int) -> Iterator[list[bytes]]:
    """Yield batches of lines as they arrive, and an empty one at the end."""
    rest = b""
    while data := read_piece(descriptor):
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            yield [line.removesuffix(b"\r") for line in lines]
    if rest:
        yield [rest]
    yield []


def read_piece(descriptor: int) -> bytes:
    """Return some bytes; b"" at the end, and from a closed terminal."""
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError:
        return b""


class Prompt:
    """Lines typed at a prompt, with editing and history; output is printed above it.

    ``interrupt`` is called for Ctrl-C, which is not a signal on a terminal in raw mode;
    ``show_problem`` gets the problem with an invalid line. Ctrl-D ends the messages.
    """

    def __init__(
        self,
        form: Form,
        interrupt: Callable[[], None],
        show_problem: Callable[[str], None],
    ) -> None:
        self._form = form  # text or binary
        self._interrupt = interrupt  # called on Ctrl-C
        self._show_problem = show_problem  # called with what is wrong with a line
        # Typed and not sent yet; None after Ctrl-D.
        self._lines: asyncio.Queue[Payload | None] = asyncio.Queue(1)
        self._reading: asyncio.Task[None] | None = None  # runs `_read`

    async def next(self) -> Payload | None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="prompt")
        return await self._lines.get()

    async def close(self) -> None:
        """Remove the prompt from the screen."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        from prompt_toolkit import PromptSession  # slow to import, and rarely wanted

        session: PromptSession[str] = PromptSession()
        while True:
            try:
                line = await session.prompt_async("> ", handle_sigint=False)
                message = encode(line.encode(), self._form)
            except ClientError as error:
                self._show_problem(str(error))
            except KeyboardInterrupt:
                return self._interrupt()
            except EOFError:
                return await self._lines.put(None)
            else:
                await self._lines.put(message)


class Chain:
    """The messages of several sources, one source after another."""

    def __init__(self, *sources: Source) -> None:
        self._sources = deque(sources)  # that may have more messages

    async def next(self) -> Payload | None:
        while self._sources:
            if (message := await self._sources[0].next()) is not None:
                return message
            self._sources.popleft()
        return None
