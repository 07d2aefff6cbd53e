"""One event and the other frames of the feed, each encoded once for each wire form.

Every subscription is given the same object, so what is encoded here is shared by all.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from echo.frames import TEXT, encode_frame
from echo.protocol import MAX_DATA_BYTES, EventId, FeedError, TooLarge

# What is written at once to one reader.
MAX_CHUNK_BYTES = 64 * 1024
# Line ends to Unicode, so to many a client's line reader, but not to JSON.
LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}


def encode_data(data: Any) -> str:
    """Return an event's data as JSON text: UTF-8, no newline, at most 64 KiB.

    Raises FeedError for what is not JSON, TooLarge for more.
    """
    try:
        text = json.dumps(
            data, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).translate(LINE_ENDS)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise FeedError(
            f"data: expected a JSON value, got one that is not: {error}"
        ) from None
    if size > MAX_DATA_BYTES:
        raise TooLarge(
            f"data: expected at most {MAX_DATA_BYTES} bytes of JSON, got {size}"
        )
    return text


def wire_time(moment: datetime) -> str:
    """Return a time as RFC 3339 has it, in UTC with milliseconds."""
    return (
        moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


class Frame:
    """What goes over a wire, in its forms: JSON text, WebSocket frame, SSE bytes."""

    type: str
    # The id up to which a reader has everything once it has this frame.
    cursor: EventId | None
    # The frame in the answer to a poll, and inside the other forms.
    json: str
    # Further fields in an event stream.
    sse_extra = ""
    # Called for each connection that is being sent the frame; None: not counted.
    on_delivery: Callable[[], None] | None = None

    @cached_property
    def message(self) -> dict[str, Any]:
        """Return the ASGI message that carries it over a WebSocket."""
        return {"type": "websocket.send", "text": self.json}

    @cached_property
    def websocket(self) -> bytes:
        """Return the frame of the WebSocket that carries it."""
        return encode_frame(TEXT, self.json.encode())

    @cached_property
    def sse(self) -> bytes:
        """Return the frame in an event stream: an event is unnamed, others bear their type."""
        name = "" if self.type == "event" else f"event: {self.type}\n"
        identity = f"id: {self.cursor}\n" if self.cursor else ""
        return f"{name}{identity}{self.sse_extra}data: {self.json}\n\n".encode()


@dataclass(frozen=True, eq=False)
class Event(Frame):
    """A committed event; frozen, because all readers share it."""

    type = "event"

    epoch: str
    number: int
    topic: str
    # The number of the event before it on its topic.
    previous: int | None
    sent_at: str
    # JSON text.
    data: str
    # By which way it was published; not for readers.
    source: str = ""
    on_delivery: Callable[[], None] | None = None

    @cached_property
    def id(self) -> EventId:
        """Return the id that readers resume from."""
        return EventId(self.epoch, self.number)

    @cached_property
    def sent_timestamp(self) -> float:
        """Return ``sent_at`` as Unix seconds."""
        return datetime.fromisoformat(self.sent_at).timestamp()

    @property
    def cursor(self) -> EventId:  # type: ignore[override]
        return self.id

    @cached_property
    def json(self) -> str:  # type: ignore[override]
        """Return the frame as JSON text; id, topic and time need no escapes."""
        previous = (
            "null" if self.previous is None else f'"{self.epoch}-{self.previous}"'
        )
        return (
            f'{{"type":"event","id":"{self.epoch}-{self.number}","previous":{previous},'
            f'"topic":"{self.topic}","sent_at":"{self.sent_at}","data":{self.data}}}'
        )

    @cached_property
    def size(self) -> int:
        """Return its bytes on a wire without the framing, for the bounds of queues."""
        return len(self.json.encode())

    def packed(self) -> list[Any]:
        """Return the event as it travels over the channel layer, after its epoch."""
        return [self.number, self.topic, self.previous, self.sent_at, self.data]


class Notice(Frame):
    """A frame that is not an event: hello, heartbeat, reset or bye."""

    def __init__(self, type: str, cursor: EventId | None = None, **fields: Any) -> None:
        self.type = type
        self.cursor = cursor
        shown = {"type": type, **fields}
        if cursor is not None:
            shown["last_event_id"] = str(cursor)
        if "retry_ms" in shown:  # what makes an EventSource come back then
            self.sse_extra = f"retry: {shown['retry_ms']}\n"
        # What its JSON says.
        self.fields = shown
        self.json = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def reset(reason: str, asked: object, cursor: EventId) -> Notice:
    """Return the notice of a gap after ``asked``; the stream goes on at ``cursor``."""
    return Notice("reset", cursor, reason=reason, asked=str(asked))


class Chunk(NamedTuple):
    """Frames as one piece of bytes, the same for all readers who are due them."""

    data: bytes
    # The frames whose deliveries are counted.
    counted: tuple[Frame, ...]


# Returns frames as a transport carries them.
Encode = Callable[[Sequence[Frame]], Chunk]


class Batch:
    """Events that some readers are due together, encoded once for each transport."""

    __slots__ = ("chunks", "events", "last_id", "size")

    def __init__(self, events: Sequence[Event]) -> None:
        # In their order, at least one.
        self.events = events
        # The id from which a reader who has them goes on.
        self.last_id = events[-1].id
        # In bytes, as queues count them.
        self.size = sum(event.size for event in events)
        # By what has made them.
        self.chunks: dict[Encode, Chunk] = {}

    def chunk(self, encode: Encode) -> Chunk:
        """Return the events as one chunk, the same one each time."""
        chunk = self.chunks.get(encode)
        if chunk is None:
            chunk = self.chunks[encode] = encode(self.events)
        return chunk


def split_frames(frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
    """Yield frames in parts of at most MAX_CHUNK_BYTES, or of one frame."""
    start = size = 0
    for place, frame in enumerate(frames):
        size += len(frame.websocket)
        if size > MAX_CHUNK_BYTES and place > start:
            yield frames[start:place]
            start, size = place, len(frame.websocket)
    yield frames[start:]


def websocket_chunk(frames: Sequence[Frame]) -> Chunk:
    """Return frames as a WebSocket carries them."""
    return Chunk(b"".join([frame.websocket for frame in frames]), counted(frames))


def sse_chunk(frames: Sequence[Frame]) -> Chunk:
    """Return frames as an event stream carries them."""
    return Chunk(b"".join([frame.sse for frame in frames]), counted(frames))


def counted(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """Return those frames whose deliveries are counted."""
    return tuple(frame for frame in frames if frame.on_delivery is not None)


def count_deliveries(frames: Iterable[Frame]) -> None:
    """Count that frames are delivered: right before they are sent, or once they are written."""
    for frame in frames:
        if frame.on_delivery is not None:
            frame.on_delivery()
