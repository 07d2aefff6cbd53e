"""One run of the client: connect, send and print, close, and check how it ended."""

import asyncio
import random
import signal
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from echo.client.connection import ClientConnection, Closure
from echo.client.errors import ClientError, ExitCode
from echo.client.opening import connect
from echo.client.options import Options
from echo.client.output import Output, closure_text
from echo.client.sources import Payload, Source
from echo.client.trace import Direction, WireTrace

# How long the close may take after Ctrl-C, as in gorilla's client.
INTERRUPT_SECONDS = 1.0
# The silence after which the run ends: if every reply was an echo, and if not.
SETTLE_SECONDS = 0.1
QUIET_SECONDS = 0.5
# Backoff with full jitter: up to this long after the first failure, doubling after each.
BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 20.0
# Messages without an echo to remember for their round-trip times.
MAX_OUTSTANDING = 10_000
# The codes of a normal close (RFC 6455 section 7.4.1).
NORMAL_CODES = frozenset({1000, 1001, 1005})
# After these a new connection would end in the same way; 4500-4999 mean that.
FINAL_CODES = frozenset({1000, 1005, *range(4500, 5000)})

T = TypeVar("T")


class Interrupted(Exception):
    """The user has asked to stop, with Ctrl-C or SIGTERM."""


class RoundTrips:
    """Counts a connection's messages and replies, and measures round-trip times.

    A reply is the echo of the oldest outstanding message with the same content. Counting
    alone decides whether every message has a reply: a server need not be an echo.
    """

    def __init__(self) -> None:
        self.sent = 0  # messages
        self.received = 0  # messages, echoes or not
        self.arrival = asyncio.Event()  # set by every received message
        # The fingerprint of each message without an echo, and when it was sent.
        self._outstanding: deque[tuple[int, float]] = deque(maxlen=MAX_OUTSTANDING)
        self._clock = asyncio.get_running_loop().time  # in seconds, monotonic

    @property
    def all_echoed(self) -> bool:
        """True if every message has come back as it was sent."""
        return not self._outstanding

    @property
    def missing(self) -> int:
        """The number of messages without a reply."""
        return max(0, self.sent - self.received)

    def send(self, payload: Payload) -> None:
        """Record a message that is about to be sent."""
        self.sent += 1
        self._outstanding.append((fingerprint(payload), self._clock()))

    def receive(self, payload: Payload) -> float | None:
        """Record a reply; return the round-trip time in seconds, or None if no echo."""
        self.received += 1
        self.arrival.set()
        key = fingerprint(payload)
        # A search, not the first entry: a server may drop or reorder messages.
        for index, (sent, at) in enumerate(self._outstanding):
            if sent == key:
                del self._outstanding[index]
                return self._clock() - at
        return None


def fingerprint(payload: Payload) -> int:
    """Return a hash that stands for a message, so that the message need not be kept."""
    return hash((type(payload), payload))


class Session:
    """Sends the messages of a source over one connection, or over several in turn."""

    def __init__(
        self, options: Options, source: Source, output: Output, stop: asyncio.Event
    ) -> None:
        self.options = options  # of the command line
        self.source = source  # of the messages to send
        self.output = output  # shows what happens
        self.stop = stop  # set when the user asks to stop
        self.round_trips = RoundTrips()  # of the current connection
        self.clock = asyncio.get_running_loop().time  # in seconds, monotonic
        self.unsent: Payload | None = None  # taken from the source and not sent yet
        self.next_send_at = self.clock()  # when the next message may be sent
        self.max_backoff = BACKOFF_SECONDS  # before the next attempt to reconnect
        self.lost = 0  # messages without a reply on earlier connections

    async def run(self) -> None:
        """Return after a clean end. Raises ClientError after any other."""
        with stopped_by_signals(self.stop), suppress(Interrupted):
            while not await self.try_connection():
                self.lost += self.round_trips.missing
                self.round_trips = RoundTrips()
            if self.lost and self.options.wait is None:
                raise ClientError(
                    ExitCode.CLOSED_ABNORMALLY,
                    f"replies: expected one to each message, {self.lost} sent before a "
                    "reconnect had no reply; --wait needs no replies",
                )

    async def try_connection(self) -> bool:
        """Use one connection; return False, after a pause, if another one has to follow."""
        try:
            await self.use_connection()
        except ClientError as error:
            if not (self.options.reconnect and error.retry):
                raise
            seconds = random.uniform(0, self.max_backoff)
            self.max_backoff = min(self.max_backoff * 2, MAX_BACKOFF_SECONDS)
            self.output.reconnecting(seconds, str(error))
            await self.unless_stopped(asyncio.sleep(seconds))
            return False
        return True

    async def use_connection(self) -> None:
        """Open a connection, exchange messages, close it, and check how it ended."""
        connection = await self.open()
        try:
            failure = await self.exchange_messages(connection)
            closed_by_us = connection.is_open
            is_answered = await self.close(connection, failure)
        finally:
            connection.abort()
        closure = connection.closure
        direction = Direction.SENT if closed_by_us else Direction.RECEIVED
        self.output.closed(closure, direction)
        if failure is not None:
            raise failure
        if not is_answered:
            raise ClientError(
                ExitCode.TIMEOUT,
                "expected the close frame to be answered within "
                f"{self.options.timeout:g} s, got nothing; --timeout waits longer",
            )
        self.check_closure(closure, closed_by_us=closed_by_us)

    async def open(self) -> ClientConnection:
        """Return an open connection, whose bytes are printed if ``--trace`` is given."""
        traces = {direction: WireTrace() for direction in Direction}

        def watch(direction: Direction, data: bytes) -> None:
            if self.options.trace:
                trace = traces[direction]
                for item in trace.feed(data) if data else trace.end():
                    self.output.wire(direction, item)

        self.output.connecting(self.options.url)
        connection = await self.unless_stopped(connect(self.options, watch))
        self.next_send_at = self.clock() + self.options.delay
        self.output.opened(self.options.url, connection.core.subprotocol)
        return connection

    async def exchange_messages(self, connection: ClientConnection) -> Exception | None:
        """Send and receive until one side is done; return the failure, if any.

        It is returned and not raised, because the connection has to be closed first.
        """
        try:
            await self.unless_stopped(self.read_and_write(connection))
        except (Interrupted, ClientError) as failure:
            return failure
        return None

    async def read_and_write(self, connection: ClientConnection) -> None:
        """Run a reader and a writer; the first one to finish cancels the other."""
        reading = asyncio.create_task(self.read(connection), name="reader")
        writing = asyncio.create_task(self.write(connection), name="writer")
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            (reading if reading.done() else writing).result()
        finally:
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def read(self, connection: ClientConnection) -> None:
        """Print what arrives until the connection is over."""
        while (payload := await connection.receive()) is not None:
            self.max_backoff = BACKOFF_SECONDS  # the connection works
            self.output.received(payload, self.round_trips.receive(payload))

    async def write(self, connection: ClientConnection) -> None:
        """Send the source's messages at their times, and wait for the replies."""
        while True:
            if self.unsent is None:
                await asyncio.sleep(self.next_send_at - self.clock())
                self.unsent = await self.source.next()
            if self.unsent is None:
                return await self.wait_for_replies()
            if not connection.is_open:
                return None  # `unsent` stays for the next connection
            payload, self.unsent = self.unsent, None
            # From the last due time, not from now: late messages do not shift the rest.
            self.next_send_at = max(
                self.next_send_at + self.options.interval, self.clock()
            )
            await self.send(connection, payload)

    async def send(self, connection: ClientConnection, payload: Payload) -> None:
        """Send one message. Raises ClientError if the server does not read in time."""
        self.output.sent(payload)
        self.round_trips.send(payload)
        try:
            async with asyncio.timeout(self.options.timeout):
                await connection.send(payload)
        except TimeoutError:
            raise ClientError(
                ExitCode.TIMEOUT,
                f"expected the server to read within {self.options.timeout:g} s, "
                "got no room to write; --timeout waits longer",
            ) from None

    async def wait_for_replies(self) -> None:
        """Wait as long as ``--wait`` says, or until every message has a reply.

        After the last reply comes a moment of silence, in which a server may still send
        more, such as its own close; a longer one if its replies are no echoes.
        """
        if self.options.wait is not None:
            return await asyncio.sleep(self.options.wait)
        round_trips = self.round_trips
        while True:
            round_trips.arrival.clear()
            silence = SETTLE_SECONDS if round_trips.all_echoed else QUIET_SECONDS
            is_complete = not round_trips.missing
            try:
                async with asyncio.timeout(
                    silence if is_complete else self.options.timeout
                ):
                    await round_trips.arrival.wait()
            except TimeoutError:
                if is_complete:
                    return None
                raise self.missing_replies() from None

    def missing_replies(self) -> ClientError:
        """Return the error for a server that was silent for ``--timeout``."""
        return ClientError(
            ExitCode.TIMEOUT,
            f"replies: expected {self.round_trips.sent}, got {self.round_trips.received}"
            f", and none for {self.options.timeout:g} s; --timeout waits longer, --wait "
            "needs no replies",
        )

    async def close(
        self, connection: ClientConnection, failure: Exception | None
    ) -> bool:
        """Close the connection; return False if the server has not answered in time.

        After an interrupt the server has a second; else a further interrupt ends the wait.
        """
        if isinstance(failure, Interrupted):
            return await self.closing_handshake(connection, INTERRUPT_SECONDS)
        return await self.unless_stopped(
            self.closing_handshake(connection, self.options.timeout)
        )

    async def closing_handshake(
        self, connection: ClientConnection, seconds: float
    ) -> bool:
        """Send the close frame, and read to the end; return True if it was answered."""
        is_answered = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await connection.close(
                    self.options.close_code, self.options.close_reason
                )
                await self.read(connection)
                is_answered = True
                await connection.linger()
        return is_answered

    def check_closure(self, closure: Closure, *, closed_by_us: bool) -> None:
        """Raise ClientError for an abnormal end, or one after which to reconnect."""
        is_ours = closed_by_us and closure.code == self.options.close_code
        is_normal = closure.clean and (closure.code in NORMAL_CODES or is_ours)
        retry = not closed_by_us and closure.code not in FINAL_CODES
        if not is_normal or (retry and self.options.reconnect):
            raise ClientError(
                ExitCode.CLOSED_ABNORMALLY,
                "expected a close with 1000, 1001 or no code, got "
                f"{closure_text(closure)}",
                retry=retry,
            )

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of the work. Raises Interrupted if the user stops it."""
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            self.output.interrupted()
            raise Interrupted
        finally:
            working.cancel()
            stopping.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)


@contextmanager
def stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set ``stop`` on SIGINT (Ctrl-C) and SIGTERM, instead of ending the process."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
