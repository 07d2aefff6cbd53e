"""One WebSocket connection: the sans-I/O core of ``websockets`` on an asyncio stream.

Every byte passes ``watch`` on its way, which is what ``--trace`` shows.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State

from echo.client.sources import Payload
from echo.client.trace import Direction
from echo.protocol import CloseCode

READ_BYTES = 64 * 1024
# After both close frames the server ends the TCP connection (RFC 6455 section 7.1.1); one
# that does not is left alone.
LINGER_SECONDS = 1.0

Watch = Callable[[Direction, bytes], None]


@dataclass(frozen=True, slots=True)
class Closure:
    """How a connection ended; 1005 is a close frame without a code, 1006 no close frame."""

    code: int
    reason: str
    clean: bool  # both sides have said a close frame
    cause: str = ""  # of an end that is not clean


class Connection:
    """An open WebSocket; ``opening.connect`` makes it."""

    def __init__(
        self,
        core: ClientProtocol,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        watch: Watch,
    ) -> None:
        self.core = core
        self.response: Response | None = None
        self._reader = reader
        self._writer = writer
        self._watch = watch
        self._arrived: deque[Payload] = deque()
        self._fragments: list[bytes] = []
        self._is_text = False
        self._failure = ""

    @property
    def is_open(self) -> bool:
        """True while messages may be sent."""
        return self.core.state is State.OPEN

    async def handshake(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Asks for a WebSocket and reads the answer. Raises what the core thinks of it."""
        request = self.core.connect()
        lay_over(request.headers, headers)
        # A key of the user's own is answered like one of ours.
        self.core.key = request.headers["Sec-WebSocket-Key"]
        self.core.send_request(request)
        await self._flush()
        while self.response is None and self.core.handshake_exc is None:
            await self._read()
        if self.core.handshake_exc is not None:
            raise self.core.handshake_exc

    async def send(self, payload: Payload) -> None:
        """Sends one message; waits while the server does not read."""
        if isinstance(payload, str):
            self.core.send_text(payload.encode())
        else:
            self.core.send_binary(payload)
        await self._flush()

    async def receive(self) -> Payload | None:
        """The next message; None when the server's close frame or the end has come."""
        while not self._arrived and not self._is_over:
            await self._read()
        return self._arrived.popleft() if self._arrived else None

    async def close(self, code: int, reason: str) -> None:
        """Sends the close frame; the server's answer ends ``receive``."""
        if self.is_open:
            self.core.send_close(code, reason)
            await self._flush()

    async def finish(self) -> None:
        """Waits a moment for the server to end the TCP connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self.core.state is not State.CLOSED:
                    await self._read()

    @property
    def closure(self) -> Closure:
        """How the connection ended, as far as it has."""
        sent, received = self.core.close_sent, self.core.close_rcvd
        cause = "the connection ended without a close frame"
        if sent is not None and (failure := self._protocol_failure):
            cause = f"failed with {sent.code}: {failure}"
        elif received is not None:
            return Closure(received.code, received.reason, clean=sent is not None)
        return Closure(1006, "", clean=False, cause=cause)

    def abort(self) -> None:
        """Ends the TCP connection now, if it has not ended."""
        self._writer.transport.abort()

    @property
    def _protocol_failure(self) -> str:
        """What the server has sent against the protocol, or nothing."""
        error = self.core.parser_exc
        ended = error is None or isinstance(error, EOFError)
        return self._failure or ("" if ended else str(error))

    @property
    def _is_over(self) -> bool:
        return (
            self.core.state is State.CLOSED
            or self.core.close_rcvd is not None
            or bool(self._protocol_failure)
        )

    async def _read(self) -> None:
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError:  # a reset; ssl.SSLError is one too
            data = b""
        self._watch(Direction.RECEIVED, data)
        if data:
            self.core.receive_data(data)
        else:
            self.core.receive_eof()
        for event in self.core.events_received():
            if isinstance(event, Frame):
                self._take(event)
            elif isinstance(event, Response):
                self.response = event
        await self._flush()

    def _take(self, frame: Frame) -> None:
        """Puts fragments together; the core has checked their order."""
        if frame.opcode > Opcode.BINARY or self._failure:
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return
        payload = b"".join(self._fragments)
        self._fragments.clear()
        try:
            self._arrived.append(payload.decode() if self._is_text else payload)
        except UnicodeDecodeError as error:
            self._failure = f"invalid UTF-8 at position {error.start} of a text message"
            self.core.fail(CloseCode.INVALID_DATA, "invalid UTF-8")

    async def _flush(self) -> None:
        """Writes what the core has to send; an empty chunk is the end of the stream."""
        for data in self.core.data_to_send():
            if data:
                self._watch(Direction.SENT, data)
                self._writer.write(data)
            elif self._writer.can_write_eof():
                with suppress(OSError, RuntimeError):
                    self._writer.write_eof()
        with suppress(ConnectionError):  # the reader is told of it as well
            await self._writer.drain()


def lay_over(headers: Headers, given: tuple[tuple[str, str], ...]) -> None:
    """Adds headers; one that the handshake has already is replaced."""
    for name in {name.lower() for name, _ in given}:
        if name in headers:
            del headers[name]
    for name, value in given:
        headers[name] = value
