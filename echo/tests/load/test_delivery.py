"""Both load generators notice an event that is lost, doubled, changed or out of order."""

from collections.abc import Callable

import pytest

from echo.load.delivery import deliver
from echo.load.errors import LoadError
from echo.load.fallback import PythonLoad
from echo.load.generator import Load
from echo.tests.load.server import ToldPublisher, ToldServer

READERS = 5
HEARTBEAT = '{"type":"heartbeat","last_event_id":"x-1"}'
Spoil = Callable[[list[str]], list[str]]


def repeat(times: int, step: Callable[[], object]) -> None:
    for _ in range(times):
        step()


@pytest.fixture
def publisher(server: ToldServer, load: Load | PythonLoad) -> ToldPublisher:
    """Return a publisher whose readers are connected."""
    load.open(server.uri("/"), READERS, greetings=1)
    return ToldPublisher(server)


def test_what_every_reader_gets_once_and_in_order_is_collected(
    load: Load | PythonLoad, publisher: ToldPublisher
) -> None:
    deliver(load, publisher, ["news"] * 10)
    deliver(load, publisher, ["news"])
    load.expect(2)
    publisher.publish(["news"] * 2)
    assert load.collect().events == [[b"event 0", b"event 1"]]


def test_heartbeats_and_pings_between_events_are_no_events(
    load: Load | PythonLoad, server: ToldServer, publisher: ToldPublisher
) -> None:
    pongs = [reader.ping() for reader in server.readers]
    publisher.spoil = lambda events: [HEARTBEAT, *events, HEARTBEAT]
    deliver(load, publisher, ["news"] * 2)
    deliver(load, publisher, ["news"] * 2)
    assert all(pong.wait(10) for pong in pongs)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda events: [*events, events[-1]],
        lambda events: [events[0], *events[:-1]],
        lambda events: events[::-1],
        lambda events: [*events[:-1], "event 9 "],
        lambda events: [*events[:-1], ""],
    ],
    ids=["doubled", "doubled for lost", "out of order", "changed", "empty"],
)
def test_a_reader_who_gets_something_else_fails_the_run(
    load: Load | PythonLoad, publisher: ToldPublisher, spoil: Spoil
) -> None:
    deliver(load, publisher, ["news"] * 3)
    publisher.spoil = spoil
    # An event too many may be noticed in the next round.
    with pytest.raises(LoadError):
        repeat(2, lambda: deliver(load, publisher, ["news"] * 3))


@pytest.mark.parametrize("silence_seconds", [2.0])
def test_an_event_that_one_reader_does_not_get_fails_the_run(
    load: Load | PythonLoad, publisher: ToldPublisher
) -> None:
    publisher.spoil = lambda events: events[:-1]
    with pytest.raises(LoadError, match="nothing has come for 2 s"):
        deliver(load, publisher, ["news"] * 3)


def test_events_of_another_number_at_all_readers_fail_the_run(
    load: Load | PythonLoad, publisher: ToldPublisher
) -> None:
    load.expect(1)
    publisher.number = lambda event: 7  # type: ignore[method-assign]
    with pytest.raises(LoadError, match=r"expected the events \[0\], got \[7\]"):
        deliver(load, publisher, ["news"])


def test_a_server_that_keeps_no_order_may_deliver_in_any(
    load: Load | PythonLoad, publisher: ToldPublisher
) -> None:
    publisher.spoil = lambda events: events[::-1]
    deliver(load, publisher, ["news"] * 3, in_order=False)
    publisher.spoil = lambda events: [events[0], *events[:-1]]
    with pytest.raises(LoadError, match="other events"):
        deliver(load, publisher, ["news"] * 3, in_order=False)


def test_a_closed_connection_fails_the_run(
    load: Load | PythonLoad, server: ToldServer, publisher: ToldPublisher
) -> None:
    load.expect(1)
    server.readers[2].close(4503, "an operator")
    with pytest.raises(LoadError, match="4503.*an operator"):
        load.collect()


def test_a_reader_of_another_kind_gets_other_events(
    c_load: Load, server: ToldServer
) -> None:
    """Connection n is compared with connection n % kinds; {n} is its kind."""
    c_load.open(server.uri("/?topic={n}"), 6, greetings=1, kinds=2)
    c_load.expect(1, readers=4, kinds=2)
    readers = sorted(server.readers, key=lambda one: one.request.path)  # type: ignore[union-attr]
    assert [one.request.path[-1] for one in readers] == list("000111")  # type: ignore[union-attr]
    assert c_load.count == 6


def test_an_event_that_nobody_expects_fails_the_run(
    c_load: Load, server: ToldServer
) -> None:
    c_load.open(server.uri("/"), 1, greetings=1)
    c_load.expect(0)
    server.readers[0].send("surprise")
    # It is there sooner or later.
    with pytest.raises(LoadError, match="one too many.*surprise"):
        repeat(1_000_000, lambda: c_load.expect(0))
