"""A stopping server sends ``bye``; readers get later events after the restart."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from echo.tests.live import COMMANDS, PATIENCE_SECONDS, LiveSite, wait_until
from echo.tests.transports.adapters import (
    TRANSPORTS,
    Ended,
    EventStream,
    Frame,
    LongPoll,
    Stream,
    WebSocket,
    ask,
    next_of,
    take_data,
)
from echo.tests.transports.conftest import FeedSite, prepare


class PatientPoll(LongPoll):
    """A long poll that waits longer than a test."""

    wait = "30"


@dataclass
class Ending:
    """The end of one stream, and the events of its successor after the restart."""

    bye: Frame
    ended: Ended | None
    retries: list[int]
    resumed: list[Any]


@pytest.fixture(scope="module", params=COMMANDS)
def endings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Ending]:
    """SIGTERM with a stream open over each transport, an event, and a restart."""
    live = LiveSite(request.param, tmp_path_factory.mktemp(request.param))
    site = prepare(live)
    kinds = {**TRANSPORTS, "longpoll": PatientPoll}
    live.start()
    with ExitStack() as stack:
        stack.callback(live.stop)
        streams = {
            name: stack.enter_context(closing(kind(live, "news")))
            for name, kind in kinds.items()
        }
        ended = stop_under(streams, site)
        cursors = {name: stream.cursor for name, stream in streams.items()}
        live.manage("broadcast", "while the server was down")
        live.start()
        site.publish("news", "after")
        for name, kind in kinds.items():
            again = kind(live, "news", since=cursors[name])
            ended[name].resumed = take_data(stack.enter_context(closing(again)), 2)
    assert live.stop() in (0, -15)
    assert "Traceback" not in live.log, live.log
    return ended


def stop_under(streams: dict[str, Stream], site: FeedSite) -> dict[str, Ending]:
    """Stop the server while all streams wait; return how each ended."""
    with ThreadPoolExecutor(len(streams)) as pool:
        waits = {
            name: pool.submit(ending_of, stream)
            for name, stream in streams.items()
            if name != "shortpoll"
        }
        connected(site, len(waits))
        site.live.stop()
        ended = {name: wait.result(PATIENCE_SECONDS) for name, wait in waits.items()}
    return ended | {"shortpoll": Ending({}, None, [], [])}


def connected(site: FeedSite, count: int) -> None:
    wait_until(
        lambda: ask(site.live, "/readyz").json()["connections"] == count,
        "every stream to wait",
    )


def ending_of(stream: Stream) -> Ending:
    """Read to the end; a poll ends with its response."""
    frame = stream.next()
    ended = None
    if not isinstance(stream, LongPoll):
        with pytest.raises(Ended) as end:
            stream.next()
        ended = end.value
    return Ending(frame, ended, getattr(stream, "retries", []), [])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_lost_or_doubled_through_a_restart(
    endings: dict[str, Ending], transport: str
) -> None:
    assert endings[transport].resumed == [
        "while the server was down",
        "after",
    ]


def test_a_websocket_gets_bye_and_is_closed_with_4001(
    endings: dict[str, Ending],
) -> None:
    ending = endings["websocket"]
    check_bye(ending.bye)
    assert ending.ended is not None
    assert (ending.ended.code, ending.ended.reason) == (4001, "shutdown")


def test_an_event_stream_gets_bye_with_a_time_to_retry_and_ends(
    endings: dict[str, Ending],
) -> None:
    ending = endings["sse"]
    check_bye(ending.bye)
    assert ending.ended is not None
    assert ending.retries[-1] == ending.bye["retry_ms"]


def test_a_long_poll_is_answered_at_once_with_bye(endings: dict[str, Ending]) -> None:
    check_bye(endings["longpoll"].bye)


def check_bye(bye: Frame) -> None:
    assert (bye["type"], bye["code"], bye["reason"]) == ("bye", 4001, "shutdown")
    assert 100 <= bye["retry_ms"] <= 20_000


@pytest.mark.parametrize("server", COMMANDS)
def test_an_event_stream_ends_when_its_time_is_over_and_is_resumed(
    server: str, tmp_path: Path
) -> None:
    with LiveSite(server, tmp_path, FEED_SSE_LIFETIME_SECONDS="0.5") as live:
        with closing(EventStream(live)) as stream:
            assert next_of(stream, "bye")["code"] == 4011
            with pytest.raises(Ended):
                stream.next()
        assert stream.cursor is not None
        with closing(EventStream(live, last_event_id=stream.cursor)) as again:
            assert again.hello["resumed"]


@pytest.mark.parametrize("server", COMMANDS)
def test_a_websocket_ends_when_its_time_is_over_and_loses_nothing(
    server: str, tmp_path: Path
) -> None:
    # The second one has its event long before that.
    live = LiveSite(server, tmp_path, FEED_WEBSOCKET_LIFETIME_SECONDS="3")
    site = prepare(live)
    live.start()
    try:
        with closing(WebSocket(live, "news")) as socket:
            bye = next_of(socket, "bye")
            assert (bye["code"], bye["retry_ms"]) == (4011, 0)
            with pytest.raises(Ended) as end:
                socket.next()
        assert (end.value.code, end.value.reason) == (4011, "lifetime is over")
        site.publish("news", "meanwhile")
        with closing(WebSocket(live, "news", since=socket.cursor)) as again:
            assert again.hello["resumed"]
            assert take_data(again, 1) == ["meanwhile"]
    finally:
        live.stop()
