"""Publishes the load's events to the feed, over one HTTP connection."""

import http.client
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from websockets.uri import WebSocketURI

from echo.load.errors import LoadError

TIMEOUT_SECONDS = 30.0
# A server closes a connection that was idle for so long, or longer.
IDLE_SECONDS = 2.0
# How often a request is sent again that was refused as one too many.
ATTEMPTS = 20
# The most that one request takes (echo.protocol, MAX_PUBLISHED_AT_ONCE).
EVENTS_IN_A_REQUEST = 100


class FeedPublisher:
    """Publishes numbered events, and reads the numbers of those that arrived."""

    def __init__(self, uri: WebSocketURI, token: str, text: str) -> None:
        kind = http.client.HTTPSConnection if uri.secure else http.client.HTTPConnection
        # To the server of the feed's WebSocket.
        self.connection = kind(uri.host, uri.port, timeout=TIMEOUT_SECONDS)
        self.path = publish_path(uri)
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        # Fills each event up to its size.
        self.text = text
        # When the connection was last used, by time.monotonic().
        self.used_at = 0.0

    def publish(self, topics: Sequence[str]) -> float:
        """Publish an event on each topic, numbered from 0; return when the first was sent.

        Raises LoadError.
        """
        events = [
            {"topic": topic, "data": {"n": n, "text": self.text}}
            for n, topic in enumerate(topics)
        ]
        began = [
            self.post(events[start : start + EVENTS_IN_A_REQUEST])[0]
            for start in range(0, len(events), EVENTS_IN_A_REQUEST)
        ]
        return began[0]

    def post(self, events: list[dict[str, Any]]) -> tuple[float, str]:
        """Publish events; return when they were sent, and the last one's id."""
        body = json.dumps(events)
        for _ in range(ATTEMPTS):
            if time.monotonic() - self.used_at > IDLE_SECONDS:
                self.connection.close()
            began = time.monotonic()
            answer, text = self.request("POST", self.path, body)
            if answer.status == 201:
                return began, str(json.loads(text)["events"][-1]["id"])
            if answer.status != 429:
                break
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        raise LoadError(
            f"expected 201 from POST {self.path}, got {answer.status} {answer.reason}: "
            + describe(text)
        )

    def request(
        self, method: str, path: str, body: str | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Return a response and its body. Raises LoadError."""
        try:
            self.connection.request(method, path, body, self.headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise LoadError(
                f"expected a response to {method} {path}, got {error or repr(error)}"
            ) from None
        self.used_at = time.monotonic()
        return answer, text

    def number(self, event: bytes) -> int:
        """Return the number of an event. Raises LoadError if it is not one of ours."""
        with suppress(ValueError, LookupError, TypeError):
            return int(json.loads(event)["data"]["n"])
        raise LoadError(
            f"expected the events of this run, got {event[:200].decode(errors='replace')}"
        )

    def close(self) -> None:
        self.connection.close()


def publish_path(uri: WebSocketURI) -> str:
    """Return the path to publish at, beside the feed's WebSocket. Raises LoadError."""
    if not uri.path.endswith("/ws"):
        raise LoadError(
            f"expected the address of a feed, such as ws://{uri.host}/feed/ws, got the "
            f"path {uri.path}"
        )
    return f"{uri.path.removesuffix('ws')}publish"


def describe(body: bytes) -> str:
    """Return the reason in the body of a refusal."""
    with suppress(ValueError, LookupError, TypeError):
        return str(json.loads(body)["detail"])
    return body[:200].decode(errors="replace")


def with_topic(uri: WebSocketURI, topic: str) -> WebSocketURI:
    """Return the feed's address for the readers of one topic."""
    return replace(uri, query=f"topic={topic}")
