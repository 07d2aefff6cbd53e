"""Properties of the feed's WebSocket alone."""

import json

import pytest

from echo.tests.live import PATIENCE_SECONDS
from echo.tests.transports.adapters import Ended, WebSocket, next_of
from echo.tests.transports.conftest import FeedSite, Open


@pytest.mark.parametrize("message", ["hello", b"\x00", ""])
def test_a_client_that_sends_a_message_is_closed_with_4501(
    streams: Open, message: str | bytes
) -> None:
    stream = streams(WebSocket)
    stream.socket.send(message)
    assert next_of(stream, "bye")["code"] == 4501
    with pytest.raises(Ended) as end:
        stream.next()
    assert (end.value.code, end.value.reason) == (4501, "the feed takes no messages")


def test_hello_comes_first_and_says_where_the_stream_begins(
    feed_site: FeedSite, streams: Open, topic: str
) -> None:
    (last,) = feed_site.publish(topic, 1)
    hello = streams(WebSocket, topic).hello
    assert hello["type"] == "hello"
    assert hello["last_event_id"] == last
    assert hello["resumed"] is False
    assert hello["heartbeat_seconds"] == 0.3
    assert hello["connection"]
    assert hello["node"]
    assert streams(WebSocket, topic, since=last).hello["resumed"] is True


def test_frames_are_one_line_of_utf_8(
    feed_site: FeedSite, streams: Open, topic: str
) -> None:
    stream = streams(WebSocket, topic)
    feed_site.publish(topic, "小王子\n")
    while "heartbeat" in (text := stream.socket.recv(PATIENCE_SECONDS)):
        pass
    assert "小王子" in text
    assert len(text.splitlines()) == 1
    assert json.loads(text)["data"] == "小王子\n"
