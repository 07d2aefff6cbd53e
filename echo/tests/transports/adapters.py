"""A client of each transport, with one interface: open, next frame, cursor, close.

Each is written as a user of the transport would write it, and returns frames as the contract
names them. An empty poll is returned as a heartbeat.
"""

import http.client
import json
import time
from collections import deque
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.sync.client import connect

from echo.tests.live import PATIENCE_SECONDS, LiveSite

Frame = dict[str, Any]
HERE = "127.0.0.1"


class Refused(Exception):
    """The server has refused the request with an error."""

    def __init__(self, status: int, body: bytes | bytearray, headers: Any) -> None:
        super().__init__(f"{status} {body!r}")
        self.status = status
        self.headers = headers
        self.error = json.loads(body)


class Ended(Exception):
    """The stream has ended, over a WebSocket with a close code and a reason."""

    def __init__(self, code: int | None = None, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


def query(topics: tuple[str, ...], **parameters: str | None) -> str:
    given = [(name, value) for name, value in parameters.items() if value is not None]
    return urlencode([("topic", topic) for topic in topics] + given)


@dataclass(frozen=True)
class Answer:
    """One whole HTTP response."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    site: LiveSite,
    path: str,
    source: str = HERE,
    body: Any = None,
    *,
    method: str = "",
    **headers: str,
) -> Answer:
    """Send one HTTP request on a connection of its own; read the response to its end.

    It is a POST if there is a body, which is sent as JSON unless it is bytes.
    """
    content = body
    if body is not None and not isinstance(body, bytes):
        content = json.dumps(body).encode()
    method = method or ("GET" if body is None else "POST")
    with closing(http_connection(site, source)) as connection:
        connection.request(method, path, content, named(headers))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def http_connection(site: LiveSite, source: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(
        HERE, site.port, PATIENCE_SECONDS, source_address=(source, 0)
    )


def named(headers: dict[str, str]) -> dict[str, str]:
    """Return headers from keyword arguments; empty ones are left out."""
    return {name.replace("_", "-"): value for name, value in headers.items() if value}


class Stream:
    """What the four clients share: what each asks for, its cursor and its first frame.

    ``extra`` is added to the query string as it is; ``source`` is the client's address.
    """

    path = ""

    def __init__(
        self,
        site: LiveSite,
        *topics: str,
        since: str | None = None,
        last_event_id: str = "",
        cookie: str = "",
        source: str = HERE,
        extra: str = "",
    ) -> None:
        self.site, self.topics, self.extra = site, topics, extra
        self.cookie, self.source = cookie, source
        self.last_event_id = last_event_id
        self.cursor = since
        self.hello: Any = None  # polls have none
        self.open()

    def target(self, **parameters: str | None) -> str:
        """Return the path and the query string."""
        return f"{self.path}?{query(self.topics, **parameters)}{self.extra}"

    def open(self) -> None:
        """Connect and read the hello, where the transport has one. Raises Refused."""
        raise NotImplementedError

    def next(self) -> Frame:
        """Return the next frame. Raises Ended."""
        raise NotImplementedError

    def close(self) -> None:
        """Disconnect, where there is a connection between two frames."""


class WebSocket(Stream):
    """``/feed/ws``: one frame a message."""

    path = "/feed/ws"

    def open(self) -> None:
        self.context = ExitStack()
        try:
            self.socket = self.context.enter_context(
                connect(
                    self.site.ws_url + self.target(since=self.cursor),
                    additional_headers=named({"Cookie": self.cookie}),
                    proxy=None,
                    open_timeout=PATIENCE_SECONDS,
                    source_address=(self.source, 0),
                )
            )
        except InvalidStatus as refusal:
            response = refusal.response
            raise Refused(
                response.status_code, response.body, response.headers
            ) from None
        self.hello = self.receive()
        self.cursor = self.hello.get("last_event_id")

    def receive(self) -> Frame:
        frame: Frame = json.loads(self.socket.recv(PATIENCE_SECONDS))
        return frame

    def next(self) -> Frame:
        try:
            frame = self.receive()
        except ConnectionClosed as closed:
            end = closed.rcvd or Close(1006, "the TCP connection was cut")
            raise Ended(end.code, end.reason) from None
        self.cursor = frame.get("id") or frame.get("last_event_id") or self.cursor
        return frame

    def close(self) -> None:
        self.context.close()


class EventStream(Stream):
    """``/feed/sse``: Server-Sent Events, read line by line (WHATWG HTML 9.2)."""

    path = "/feed/sse"

    def open(self) -> None:
        self.connection = http_connection(self.site, self.source)
        headers = {"Cookie": self.cookie, "Last-Event-ID": self.last_event_id}
        self.connection.request(
            "GET", self.target(since=self.cursor), headers=named(headers)
        )
        self.response = self.connection.getresponse()
        if self.response.status != 200:
            body = self.response.read()
            self.close()
            raise Refused(self.response.status, body, self.response.headers)
        self.cursor = None
        self.retries: list[int] = []
        self.hello = self.next()

    def next(self) -> Frame:
        while "data" not in (fields := self.block()):
            pass
        frame: Frame = json.loads(fields["data"])
        assert fields.get("event", "event") == frame["type"]
        assert fields.get("id") == (frame.get("id") or frame.get("last_event_id"))
        return frame

    def block(self) -> dict[str, str]:
        """Return the fields up to the next empty line. Raises Ended."""
        fields: dict[str, str] = {}
        while (line := self.response.readline()) not in (b"\n", b""):
            name, _, value = line.decode().removesuffix("\n").partition(": ")
            assert name not in fields, f"{name} is given twice"
            fields[name] = value
        if not line:
            raise Ended
        self.cursor = fields.get("id", self.cursor)
        if "retry" in fields:
            self.retries.append(int(fields["retry"]))
        return fields

    def close(self) -> None:
        self.response.close()
        self.connection.close()


class LongPoll(Stream):
    """``/feed/poll?wait=…``: asked again and again, from the last answer's cursor."""

    path = "/feed/poll"
    wait: str | None = "1"

    def open(self) -> None:
        self.frames: deque[Frame] = deque()
        self.poll(wait="0")

    def next(self) -> Frame:
        if not self.frames:
            self.poll(wait=self.wait)
        if not self.frames:
            return {"type": "heartbeat", "last_event_id": self.cursor}
        return self.frames.popleft()

    def poll(self, wait: str | None) -> None:
        answer = self.ask(self.target(since=self.cursor, wait=wait))
        if answer is not None:
            self.take(answer)

    def take(self, answer: Frame) -> None:
        assert set(answer) - {"bye"} == {"events", "last_event_id", "reset", "more"}
        if answer["reset"]:
            self.frames.append(answer["reset"])
        self.frames.extend(answer["events"])
        if "bye" in answer:
            self.frames.append(answer["bye"])
        self.cursor = answer["last_event_id"]

    def ask(self, path: str, **headers: str) -> Frame | None:
        """Return the response's JSON, or None for a 304. Raises Refused."""
        response = ask(self.site, path, self.source, Cookie=self.cookie, **headers)
        self.status, self.headers = response.status, response.headers
        if response.status not in (200, 304):
            raise Refused(response.status, response.body, response.headers)
        return None if response.status == 304 else response.json()


class ShortPoll(LongPoll):
    """``/feed/poll``: ``since`` at first, then ``If-None-Match`` with the last ETag."""

    wait = None
    interval_seconds = 0.05
    etag = ""

    def poll(self, wait: str | None) -> None:
        since = None if self.etag else self.cursor
        if self.etag:
            time.sleep(self.interval_seconds)  # a short poll's own rhythm
        answer = self.ask(self.target(since=since), If_None_Match=self.etag)
        self.etag = self.headers["ETag"]
        if answer is not None:
            self.take(answer)


TRANSPORTS: dict[str, type[Stream]] = {
    "websocket": WebSocket,
    "sse": EventStream,
    "longpoll": LongPoll,
    "shortpoll": ShortPoll,
}


def take(stream: Stream, count: int) -> list[Frame]:
    """Return the next events; skip heartbeats. Fails for any other frame."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    events: list[Frame] = []
    while len(events) < count:
        assert time.monotonic() < deadline, f"{len(events)} of {count}: {events}"
        frame = stream.next()
        if frame["type"] != "heartbeat":
            assert frame["type"] == "event", frame
            events.append(frame)
    return events


def take_data(stream: Stream, count: int) -> list[Any]:
    return [event["data"] for event in take(stream, count)]


def next_of(stream: Stream, kind: str) -> Frame:
    """Return the next frame of a type; skip others."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (frame := stream.next())["type"] != kind:
        assert time.monotonic() < deadline, f"no {kind}"
    return frame


class Publisher:
    """Publishes over HTTP with a bearer token."""

    def __init__(self, site: LiveSite, token: str) -> None:
        self.site, self.token = site, token

    def __call__(self, topic: str, *data: Any) -> list[str]:
        """Publish each as an event of the topic; return their ids."""
        events = [{"topic": topic, "data": one} for one in data]
        response = ask(
            self.site,
            "/feed/publish",
            body=events,
            Authorization=f"Bearer {self.token}",
        )
        assert response.status == 201, response.body
        return [event["id"] for event in response.json()["events"]]
