"""A WebSocket server for the tests of the load, which does what a test tells it to."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve
from websockets.uri import WebSocketURI, parse_uri

GREETING = '{"type":"hello"}'
Respond = Callable[[ServerConnection, str | bytes], None]


def send_back(connection: ServerConnection, message: str | bytes) -> None:
    connection.send(message)


class ToldServer:
    """Echoes at /echo with ``respond``; greets readers elsewhere and keeps them."""

    def __init__(self) -> None:
        # What is done with each message at /echo.
        self.respond: Respond = send_back
        # Readers, in the order in which they came.
        self.readers: list[ServerConnection] = []
        # Handshakes that are refused before the first is accepted, and how.
        self.refusals: list[HTTPStatus] = []
        self.server: Server = serve(
            self.handle,
            "127.0.0.1",
            0,
            process_request=self.refuse,
            ping_interval=None,
            # Connections of asyncio do not answer while nothing runs them.
            close_timeout=0.1,
        )
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> "ToldServer":
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.thread.join()
        for reader in self.readers:
            reader.socket.close()

    def uri(self, path: str) -> WebSocketURI:
        port = self.server.socket.getsockname()[1]
        return parse_uri(f"ws://127.0.0.1:{port}{path}")

    def refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.refusals:
            return connection.respond(self.refusals.pop(), "not now")
        return None

    def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        with suppress(ConnectionClosed):
            if urlsplit(connection.request.path).path == "/echo":
                for message in connection:
                    self.respond(connection, message)
            else:
                self.readers.append(connection)
                connection.send(GREETING)
                connection.recv()  # until it closes


class ToldPublisher:
    """Sends numbers to a server's readers; to the last one what a test tells it to."""

    def __init__(self, server: ToldServer) -> None:
        self.server = server
        # Returns what the last reader is sent for the right events.
        self.spoil: Callable[[list[str]], list[str]] = lambda events: events

    def publish(self, topics: Sequence[str]) -> float:
        events = [f"event {number}" for number in range(len(topics))]
        *others, last = self.server.readers
        for reader in others:
            for event in events:
                reader.send(event)
        for event in self.spoil(events):
            last.send(event)
        return 0.0

    def number(self, event: bytes) -> int:
        return int(event.split()[1])
