"""The five lanes: what a page does to get the race's events on each way, on raw sockets.

Each does what the browser's client does (static/echo/feed/): the same requests with the same
parameters, the same pauses, and a cursor that is carried over a cut.
"""

import asyncio
import base64
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from echo.client.frames import FrameParser
from echo.frames import TEXT
from echo.lab.racer.errors import ExitCode, RaceError
from echo.lab.racer.heads import Browser
from echo.lab.racer.stream import Response, Stream, Tally

# As in static/echo/feed/transports/.
SHORT_POLL_PAUSE_SECONDS = 1.0
FIRST_WAIT_SECONDS, WAIT_SECONDS = 1, 25
# How long to wait for the answer to a close frame.
CLOSE_SECONDS = 1.0

CLOSE, PING, PONG = 0x8, 0x9, 0xA


class Lane:
    """One way for events to come; a subclass implements ``read``, which lasts until cut."""

    name = ""

    def __init__(self, browser: Browser, base: str, topic: str) -> None:
        self.browser = browser
        self.base = base  # the path of the feed, or of the feed behind a slow network
        self.topic = topic
        self.cursor: str | None = None  # the last id seen
        self.tally = Tally()
        self.requests = 0
        # By the event's index: when it came first, in Unix seconds, and when it was sent.
        self.arrivals: dict[int, tuple[float, float]] = {}
        self.arrived_at = 0.0  # when the last event came, by the monotonic clock
        self.opened = asyncio.Event()  # set once the way has shown that it works
        self.reading: asyncio.Task[None] | None = None
        self.stream: Stream | None = None  # the open connection

    def open(self) -> None:
        """Begin to read, from the cursor if there is one."""
        self.opened.clear()
        self.reading = asyncio.create_task(self.read(), name=f"lane {self.name}")

    async def close(self) -> None:
        """Stop reading, and end the connection."""
        if self.reading is not None:
            self.reading.cancel()
            await asyncio.gather(self.reading, return_exceptions=True)
        if self.stream is not None:
            await self.end(self.stream)
            self.stream.abort()
            self.stream = None

    async def end(self, stream: Stream) -> None:
        """Say goodbye, where the way has a word for it."""

    async def read(self) -> None:
        raise NotImplementedError

    def take(self, data: Any) -> None:
        """Record an event's data."""
        now = time.time()
        self.arrived_at = time.monotonic()
        self.arrivals.setdefault(data["index"], (now, data["sent_us"] / 1e6))

    def take_frame(self, frame: dict[str, Any]) -> None:
        """Record a frame of the feed."""
        self.opened.set()
        if frame["type"] == "event":
            self.cursor = frame["id"]
            self.take(frame["data"])
        elif frame.get("last_event_id"):
            self.cursor = frame["last_event_id"]

    async def connect(self) -> Stream:
        if self.stream is None:
            self.stream = await Stream.open(self.browser.site, self.tally)
        return self.stream

    def query(self, **parameters: Any) -> str:
        """Return the query string: the topic, then what is known of these."""
        given = {"topic": self.topic, "since": self.cursor} | parameters
        return urlencode({k: v for k, v in given.items() if v is not None})

    def refuse(self, response: Response, body: bytes) -> RaceError:
        """Return the error for a status that was not expected."""
        return RaceError(
            ExitCode.REFUSED,
            f"{self.name}: expected the feed, got {response.status}: {detail_of(body)}",
        )


class Poll(Lane):
    """Both polls: a request, its response, a pause."""

    pause_seconds = 0.0

    def __init__(self, browser: Browser, base: str, topic: str) -> None:
        super().__init__(browser, base, topic)
        self.responses = 0  # since the lane was opened

    def open(self) -> None:
        self.responses = 0
        super().open()

    def wait_seconds(self) -> int | None:
        """Return the ``wait`` to ask for."""
        return None

    async def read(self) -> None:
        while True:
            batch = await self.poll()
            for event in batch["events"]:
                self.take_frame(event)
            self.cursor = batch["last_event_id"]
            self.responses += 1
            self.opened.set()
            if not batch["more"]:
                await asyncio.sleep(self.pause_seconds)

    async def poll(self) -> Any:
        path = f"{self.base}poll?{self.query(wait=self.wait_seconds())}"
        head = self.browser.get(path, "application/json")
        self.requests += 1
        while True:
            is_kept_alive = self.stream is not None
            stream = await self.connect()
            try:
                await stream.write(head)
                response = await stream.head()
                break
            except (EOFError, OSError):
                # The server has closed an idle connection: a browser tries again too.
                stream.abort()
                self.stream = None
                if not is_kept_alive:
                    raise
        body = await stream.body(response)
        if response.status != 200:
            raise self.refuse(response, body)
        return json.loads(body)


class ShortPoll(Poll):
    """Asks once a second."""

    name = "shortpoll"
    pause_seconds = SHORT_POLL_PAUSE_SECONDS


class LongPoll(Poll):
    """Asks, and the server answers when there is something."""

    name = "longpoll"

    def wait_seconds(self) -> int | None:
        return WAIT_SECONDS if self.responses else FIRST_WAIT_SECONDS


class Sse(Lane):
    """One response that does not end."""

    name = "sse"

    async def read(self) -> None:
        stream = await self.connect()
        path = f"{self.base}sse?{self.query()}"
        self.requests += 1
        await stream.write(self.browser.get(path, "text/event-stream"))
        response = await stream.head()
        if response.status != 200:
            raise self.refuse(response, await stream.body(response))
        text = b""
        while chunk := await stream.chunk():
            *messages, text = (text + chunk).split(b"\n\n")
            for message in messages:
                for line in message.splitlines():
                    if line.startswith(b"data: "):
                        self.take_frame(json.loads(line.removeprefix(b"data: ")))


class WebSocket(Lane):
    """One handshake, then frames."""

    name = "websocket"

    def path(self) -> str:
        return f"{self.base}ws?{self.query()}"

    async def read(self) -> None:
        stream = await self.connect()
        key = base64.b64encode(os.urandom(16)).decode()
        self.requests += 1
        await stream.write(self.browser.handshake(self.path(), key))
        response = await stream.head()
        if response.status != 101:
            raise self.refuse(response, await stream.body(response))
        self.handshake_done()
        await self.read_frames(stream, self.take_message)

    async def read_frames(self, stream: Stream, take: Callable[[bytes], None]) -> None:
        """Take messages until the server's close frame; answer pings."""
        parser = FrameParser()
        while True:
            for frame in parser.feed(await stream.take_some()):
                if frame.opcode == TEXT:
                    take(frame.payload)
                elif frame.opcode == PING:
                    await stream.write(control_frame(PONG, frame.payload))
                elif frame.opcode == CLOSE:
                    return

    async def end(self, stream: Stream) -> None:
        """Close as a page does, without a code; wait for the answer."""
        with suppress(OSError, EOFError, TimeoutError):
            await stream.write(control_frame(CLOSE, b""))
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.read_frames(stream, lambda payload: None)

    def handshake_done(self) -> None:
        """The feed's hello opens the lane."""

    def take_message(self, payload: bytes) -> None:
        self.take_frame(json.loads(payload))


class Stock(WebSocket):
    """The stock Channels consumer: the same frames, no log behind them."""

    name = "stock"

    def path(self) -> str:
        # The path beside the feed's.
        below = self.base.removesuffix("feed/").removeprefix("/transports/").strip("/")
        return f"/transports/{below}{'/' * bool(below)}stock?race={self.topic[5:]}"

    def handshake_done(self) -> None:
        self.opened.set()

    def take_message(self, payload: bytes) -> None:
        self.take(json.loads(payload))


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's control frame, which is masked (RFC 6455 section 5.3)."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


def detail_of(body: bytes) -> str:
    """Return the reason in an error's body, or its beginning."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return repr(body[:60])
