"""One run of the client: connect, send and print, and end in one of five ways."""

import asyncio
import random
import signal
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from echo.client.connection import Closure, Connection
from echo.client.errors import ClientError, ExitCode
from echo.client.opening import connect
from echo.client.options import Options
from echo.client.output import Output, describe
from echo.client.sources import Payload, Source
from echo.client.trace import Direction, WireTrace

# After Ctrl-C, as gorilla's client waits.
INTERRUPT_SECONDS = 1.0
# How long nothing more has to come before the client is done: from a server whose replies
# were echoes of all messages, and from one that answers with something else.
SETTLE_SECONDS = 0.1
QUIET_SECONDS = 0.5
# Full jitter: up to this long after the first failure, and twice as long after each other.
RECONNECT_SECONDS = 0.5
MAX_RECONNECT_SECONDS = 20.0
# Messages without an echo that are remembered, to tell a round-trip time by.
MAX_UNANSWERED = 10_000
# The codes that a server ends with in peace (RFC 6455 section 7.4.1).
PEACEFUL_CODES = frozenset({1000, 1001, 1005})
# With these, a new connection would end in the same way; 4500-4999 say so by their range.
FINAL_CODES = frozenset({1000, 1005, *range(4500, 5000)})

T = TypeVar("T")


class Interrupted(Exception):
    """The user has asked to leave."""


class Answers:
    """What has been sent, what has come back, and how long that took.

    A message is the answer to the oldest one with the same content that has none yet.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.arrival = asyncio.Event()
        self._unanswered: deque[tuple[int, float]] = deque(maxlen=MAX_UNANSWERED)
        self._clock = asyncio.get_running_loop().time

    @property
    def are_echoes(self) -> bool:
        """True when every message has come back as it was sent."""
        return not self._unanswered

    def expect(self, payload: Payload) -> None:
        """Starts the clock for a message that is about to be sent."""
        self.sent += 1
        self._unanswered.append((fingerprint(payload), self._clock()))

    def match(self, payload: Payload) -> float | None:
        """The round-trip time in seconds; None for what is nobody's echo."""
        self.received += 1
        self.arrival.set()
        key = fingerprint(payload)
        for index, (sent, at) in enumerate(self._unanswered):
            if sent == key:
                del self._unanswered[index]
                return self._clock() - at
        return None


def fingerprint(payload: Payload) -> int:
    """Tells messages apart without keeping them."""
    return hash((type(payload), payload))


class Session:
    """Carries messages from a source over one connection, or over several in turn."""

    def __init__(
        self, options: Options, source: Source, output: Output, stop: asyncio.Event
    ) -> None:
        self.options = options
        self.source = source
        self.output = output
        self.stop = stop
        self.answers = Answers()
        self.clock = asyncio.get_running_loop().time
        self.held: Payload | None = None  # taken from the source and not sent yet
        self.due = self.clock()  # when the next message may be sent
        self.longest_pause = RECONNECT_SECONDS
        self.lost = 0  # messages without a reply on connections that have ended

    async def run(self) -> None:
        """Returns after a clean end. Raises ClientError after any other."""
        with stopped_by_signals(self.stop), suppress(Interrupted):
            while not await self.is_over():
                self.lost += max(0, self.answers.sent - self.answers.received)
                self.answers = Answers()
            if self.lost and self.options.wait is None:
                raise ClientError(
                    ExitCode.CLOSED_ABNORMALLY,
                    f"replies: expected one to each message, {self.lost} sent before a "
                    "reconnect had no reply; --wait needs no replies",
                )

    async def is_over(self) -> bool:
        """One attempt; False when another one is to follow, after a pause."""
        try:
            await self.one_connection()
        except ClientError as error:
            if not (self.options.reconnect and error.retry):
                raise
            seconds = random.uniform(0, self.longest_pause)
            self.longest_pause = min(self.longest_pause * 2, MAX_RECONNECT_SECONDS)
            self.output.reconnecting(seconds, str(error))
            await self.unless_stopped(asyncio.sleep(seconds))
            return False
        return True

    async def one_connection(self) -> None:
        """From the handshake to the end, which is judged."""
        connection = await self.open()
        try:
            verdict = await self.converse(connection)
            left = connection.is_open
            if isinstance(verdict, Interrupted):
                answered = await self.part(connection, INTERRUPT_SECONDS)
            else:
                answered = await self.unless_stopped(
                    self.part(connection, self.options.timeout)
                )
        finally:
            connection.abort()
        closure = connection.closure
        self.output.closed(closure, Direction.SENT if left else Direction.RECEIVED)
        if verdict is not None:
            raise verdict
        if not answered:
            raise ClientError(
                ExitCode.TIMEOUT,
                "expected the close frame to be answered within "
                f"{self.options.timeout:g} s, got nothing; --timeout waits longer",
            )
        self.judge(closure, left=left)

    async def open(self) -> Connection:
        """A connection, with what goes over its wire shown where a trace is asked for."""
        wires = {direction: WireTrace() for direction in Direction}

        def watch(direction: Direction, data: bytes) -> None:
            if self.options.trace:
                wire = wires[direction]
                for item in wire.feed(data) if data else wire.end():
                    self.output.wire(direction, item)

        self.output.connecting(self.options.url)
        connection = await self.unless_stopped(connect(self.options, watch))
        self.due = self.clock() + self.options.delay
        self.output.opened(self.options.url, connection.core.subprotocol)
        return connection

    async def converse(self, connection: Connection) -> Exception | None:
        """Reads and writes until one side is done; why, where it is not in good order."""
        try:
            await self.unless_stopped(self.exchange(connection))
        except (Interrupted, ClientError) as verdict:
            return verdict
        return None

    async def exchange(self, connection: Connection) -> None:
        """Reads and writes at once; the first of them to be done ends the other."""
        reading = asyncio.create_task(self.read(connection), name="reader")
        writing = asyncio.create_task(self.write(connection), name="writer")
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            (reading if reading.done() else writing).result()
        finally:
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def read(self, connection: Connection) -> None:
        """Prints what arrives until the connection is over."""
        while (payload := await connection.receive()) is not None:
            self.longest_pause = RECONNECT_SECONDS
            self.output.received(payload, self.answers.match(payload))

    async def write(self, connection: Connection) -> None:
        """Sends what the source gives, and waits for the answers to it."""
        while True:
            if self.held is None:
                await asyncio.sleep(self.due - self.clock())
                self.held = await self.source.next()
            if self.held is None:
                return await self.wait_for_answers()
            if not connection.is_open:
                return None
            payload, self.held = self.held, None
            self.due = max(self.due + self.options.interval, self.clock())
            await self.send(connection, payload)

    async def send(self, connection: Connection, payload: Payload) -> None:
        """Sends one message, unless the server reads nothing for too long."""
        self.output.sent(payload)
        self.answers.expect(payload)
        try:
            async with asyncio.timeout(self.options.timeout):
                await connection.send(payload)
        except TimeoutError:
            raise ClientError(
                ExitCode.TIMEOUT,
                f"expected the server to read within {self.options.timeout:g} s, "
                "got no room to write; --timeout waits longer",
            ) from None

    async def wait_for_answers(self) -> None:
        """Waits as long as asked to, or until every message has come back.

        A server that is no echo is done when it has said as much as it was told. A moment
        of silence is always waited for: more may follow, such as the server's own close.
        """
        if self.options.wait is not None:
            return await asyncio.sleep(self.options.wait)
        answers = self.answers
        while True:
            answers.arrival.clear()
            silence = SETTLE_SECONDS if answers.are_echoes else QUIET_SECONDS
            try:
                enough = answers.sent <= answers.received
                async with asyncio.timeout(silence if enough else self.options.timeout):
                    await answers.arrival.wait()
            except TimeoutError:
                if enough:
                    return None
                raise self.too_few_answers() from None

    def too_few_answers(self) -> ClientError:
        """The server has been silent for as long as it may."""
        return ClientError(
            ExitCode.TIMEOUT,
            f"replies: expected {self.answers.sent}, got {self.answers.received}, and "
            f"none for {self.options.timeout:g} s; --timeout waits longer, --wait needs "
            "no replies",
        )

    async def part(self, connection: Connection, patience: float) -> bool:
        """Ends the connection; False when the server has not answered the close in time."""
        answered = False
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await connection.close(
                    self.options.close_code, self.options.close_reason
                )
                await self.read(connection)
                answered = True
                await connection.finish()
        return answered

    def judge(self, closure: Closure, *, left: bool) -> None:
        """Raises ClientError for an end that was not in peace, or not for good."""
        ours = left and closure.code == self.options.close_code
        peaceful = closure.clean and (closure.code in PEACEFUL_CODES or ours)
        retry = not left and closure.code not in FINAL_CODES
        if not peaceful or (retry and self.options.reconnect):
            raise ClientError(
                ExitCode.CLOSED_ABNORMALLY,
                f"expected a close with 1000, 1001 or no code, got {describe(closure)}",
                retry=retry,
            )

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work returns. Raises Interrupted when the user leaves before."""
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
    """SIGINT, which is Ctrl-C, and SIGTERM ask to leave politely."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
