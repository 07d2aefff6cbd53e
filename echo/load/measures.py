"""The measurements of `manage.py bench`: what is sent, and the lines of the report."""

import secrets
import statistics
from collections.abc import Callable, Iterator

from websockets.uri import WebSocketURI

from echo.load.delivery import deliver
from echo.load.fallback import PythonLoad
from echo.load.generator import Load
from echo.load.publishing import FeedPublisher, with_topic

# Between two steps of the progress bar.
STEP_SECONDS = 0.25
STEP_CONNECTIONS = 250
# Is given the share that is done, from 0 to 1.
Progress = Callable[[float], None]


def open_connections(
    load: Load | PythonLoad,
    uri: WebSocketURI,
    count: int,
    progress: Progress,
    *,
    greetings: int = 0,
) -> str:
    """Open connections, some at a time; return the report's line. Raises LoadError."""
    seconds = 0.0
    for start in range(0, count, STEP_CONNECTIONS):
        some = min(STEP_CONNECTIONS, count - start)
        seconds += load.open(uri, some, greetings=greetings).seconds
        progress((start + some) / count)
    return f"opened       {count:,} in {seconds:.2f} s, {count / seconds:,.0f}/s"


def measure_echo(
    load: Load | PythonLoad,
    uri: WebSocketURI,
    progress: Progress,
    *,
    clients: int,
    size: int,
    seconds: float,
) -> Iterator[str]:
    """Send a message on each connection, and the next after its echo, for some seconds.

    Yields the lines of the report. Raises LoadError.
    """
    yield open_connections(load, uri, clients, progress)
    payload = secrets.token_bytes(size)
    replies, elapsed = 0, 0.0
    while elapsed < seconds:
        step = load.echo(payload, min(STEP_SECONDS, seconds - elapsed))
        replies += step.replies
        elapsed += step.seconds
        progress(min(1.0, elapsed / seconds))
    load.echo(b"end", 0)  # an echo that came twice would come before this one
    yield f"echoed       {replies:,} × {size:,} B in {elapsed:.2f} s"
    yield f"rate         {replies / elapsed:,.0f} messages/s"
    yield f"round trip   {clients * elapsed / replies * 1000:.2f} ms on average"
    yield "checked      every echo came once, and none differs in a byte"


def measure_feed(
    load: Load | PythonLoad,
    uri: WebSocketURI,
    progress: Progress,
    *,
    token: str,
    topic: str,
    readers: int,
    events: int,
    at_once: int,
    size: int,
) -> Iterator[str]:
    """Publish events to readers of one topic, some at once.

    Yields the lines of the report. Raises LoadError.
    """
    publisher = FeedPublisher(uri, token, "x" * size)
    try:
        publisher.publish([topic])  # a bad token ends it before the readers are opened
        yield open_connections(
            load, with_topic(uri, topic), readers, progress, greetings=1
        )
        times, rates = [], []
        for start in range(0, events, at_once):
            some = min(at_once, events - start)
            times.append(deliver(load, publisher, [topic] * some))
            rates.append(some * readers / times[-1])
            progress((start + some) / events)
        deliver(
            load, publisher, [topic]
        )  # an event that came twice would come before it
    finally:
        publisher.close()
    median, most = statistics.median(times) * 1000, max(times) * 1000
    yield f"published    {events:,} events, {min(at_once, events)} at once"
    yield f"delivered    {events * readers:,}, {statistics.median(rates):,.0f}/s"
    yield f"last reader  {median:.1f} ms after publishing, {most:.1f} ms at most"
    yield "checked      every reader got every event, once and in order"
