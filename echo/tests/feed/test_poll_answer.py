"""The answer to a poll: the frames that were due, as one JSON object."""

import json

import pytest

from echo.feed.node import Node
from echo.protocol import CloseCode
from echo.tests.feed.reading import subscribe, write
from echo.transports.poll import encode_answer

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["echo"])


async def test_events_are_given_with_the_cursor_after_them(node: Node) -> None:
    reader = await subscribe(node, "news")
    events = await write("news", "news", "other")
    node.relay.receive_events(events)
    assert json.loads(encode_answer(await reader.ready(), reader)) == {
        "events": [json.loads(event.json) for event in events[:2]],
        "last_event_id": str(events[2].id),
        "reset": None,
        "more": False,
    }


async def test_more_says_that_there_is_more_and_the_cursor_stays_before_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo.feed.log.PAGE_EVENTS", 2)
    events = await write("news", "news", "news")
    await node.relay.catch_up()
    reader = await subscribe(node, since="earliest")
    answer = json.loads(encode_answer(await reader.ready(), reader))
    assert [event["id"] for event in answer["events"]] == [
        str(event.id) for event in events[:2]
    ]
    assert answer["last_event_id"] == str(events[1].id)
    assert answer["more"] is True


async def test_a_reset_is_told_in_its_own_field(node: Node) -> None:
    await write("news")
    await node.relay.catch_up()
    reader = await subscribe(node, since="00000000-1")
    answer = json.loads(encode_answer(await reader.ready(), reader))
    assert answer["events"] == []
    assert answer["reset"]["reason"] == "epoch"
    assert answer["last_event_id"] == answer["reset"]["last_event_id"]


async def test_a_bye_is_told_in_a_field_that_is_there_only_then(node: Node) -> None:
    reader = await subscribe(node, "news")
    assert "bye" not in json.loads(encode_answer(await reader.ready(), reader))
    reader.end(CloseCode.DISCONNECTED_BY_OPERATOR, "maintenance", 86_400)
    answer = json.loads(encode_answer(await reader.ready(), reader))
    assert answer["events"] == []
    assert answer["bye"] == {
        "type": "bye",
        "code": 4503,
        "reason": "maintenance",
        "retry_ms": 86_400_000,
    }


async def test_a_bye_beside_events_loses_neither(node: Node) -> None:
    reader = await subscribe(node, "news")
    node.relay.receive_events(await write("news", "news"))
    frames = await reader.ready()
    reader.end(CloseCode.ASKED_TO_RECONNECT, "elsewhere")
    answer = json.loads(encode_answer(frames, reader))
    assert [event["id"] for event in answer["events"]] == [
        str(frame.cursor) for frame in frames
    ]
    assert answer["last_event_id"] == str(frames[-1].cursor)
    assert answer["bye"]["code"] == 4011


async def test_a_bye_before_events_leaves_the_cursor_before_them(node: Node) -> None:
    reader = await subscribe(node, "news")
    before = reader.cursor
    node.relay.receive_events(await write("news"))
    reader.end(CloseCode.ASKED_TO_RECONNECT, "elsewhere")
    answer = json.loads(encode_answer(await reader.ready(), reader))
    assert answer["events"] == []
    assert answer["last_event_id"] == str(before)
    assert answer["bye"]["code"] == 4011
