"""One WebSocket connection: the sans-I/O core of ``websockets`` on an asyncio stream.

``watch`` gets every byte in both directions, for ``--trace``. The asyncio connection of
``websockets`` does not serve here: it shows no bytes, waits for the end of TCP after a close
frame and after a refused handshake, and fails messages of more than 4,096 fragments.
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
# How long to wait for the server to end the TCP connection after both close frames (RFC
# 6455 section 7.1.1).
LINGER_SECONDS = 1.0

# Called with empty bytes at the end of the stream.
Watch = Callable[[Direction, bytes], None]


@dataclass(frozen=True, slots=True)
class Closure:
    """How a connection ended."""

    code: int  # 1005 for a close frame without a code, 1006 for no close frame
    reason: str
    clean: bool  # both sides have sent a close frame
    cause: str = ""  # of an end that is not clean


class ClientConnection:
    """A WebSocket; ``opening.connect`` returns an open one."""

    def __init__(
        self,
        core: ClientProtocol,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        watch: Watch,
    ) -> None:
        self.core = core  # websockets' protocol, without I/O
        self.response: Response | None = None  # to the handshake
        self._reader = reader  # of the TCP or TLS stream
        self._writer = writer  # of the same
        self._watch = watch  # called with all bytes, for the trace
        self._messages: deque[Payload] = deque()  # received and not returned yet
        self._fragments: list[bytes] = []  # of the message that is arriving
        self._is_text = False  # the type of that message
        # Why this side failed the connection, where the core would not have.
        self._failure = ""

    @property
    def is_open(self) -> bool:
        """True while messages may be sent."""
        return self.core.state is State.OPEN

    async def handshake(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Send the request with these headers, and read the response.

        Raises the core's exception for a response that is not a valid handshake.
        """
        request = self.core.connect()
        replace_headers(request.headers, headers)
        # The core checks the response against its own key.
        self.core.key = request.headers["Sec-WebSocket-Key"]
        self.core.send_request(request)
        await self._flush()
        while self.response is None and self.core.handshake_exc is None:
            await self._read()
        if self.core.handshake_exc is not None:
            raise self.core.handshake_exc

    async def send(self, payload: Payload) -> None:
        """Send one message; wait while the server does not read."""
        if isinstance(payload, str):
            self.core.send_text(payload.encode())
        else:
            self.core.send_binary(payload)
        await self._flush()

    async def receive(self) -> Payload | None:
        """Return the next message, or None after the server's close frame or the end."""
        while not self._messages and not self._is_over:
            await self._read()
        return self._messages.popleft() if self._messages else None

    async def close(self, code: int, reason: str) -> None:
        """Send the close frame; after the server's answer, ``receive`` returns None."""
        if self.is_open:
            self.core.send_close(code, reason)
            await self._flush()

    async def linger(self) -> None:
        """Wait for the server to end the TCP connection, LINGER_SECONDS at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self.core.state is not State.CLOSED:
                    await self._read()

    @property
    def closure(self) -> Closure:
        """How the connection has ended so far."""
        sent, received = self.core.close_sent, self.core.close_rcvd
        cause = "the connection ended without a close frame"
        if sent is not None and (failure := self._protocol_failure):
            cause = f"failed with {sent.code}: {failure}"
        elif received is not None:
            return Closure(received.code, received.reason, clean=sent is not None)
        return Closure(1006, "", clean=False, cause=cause)

    def abort(self) -> None:
        """End the TCP connection now, if it has not ended."""
        self._writer.transport.abort()

    @property
    def _protocol_failure(self) -> str:
        """The server's violation of the protocol, or an empty string."""
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
        """Read once from the stream, and process what has arrived."""
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
                self._assemble(event)
            elif isinstance(event, Response):
                self.response = event
        await self._flush()

    def _assemble(self, frame: Frame) -> None:
        """Add a frame to its message; the core has checked the order of the fragments."""
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
            self._messages.append(payload.decode() if self._is_text else payload)
        except UnicodeDecodeError as error:
            self._failure = f"invalid UTF-8 at position {error.start} of a text message"
            self.core.fail(CloseCode.INVALID_DATA, "invalid UTF-8")

    async def _flush(self) -> None:
        """Write the core's bytes; an empty chunk ends the stream."""
        for data in self.core.data_to_send():
            if data:
                self._watch(Direction.SENT, data)
                self._writer.write(data)
            elif self._writer.can_write_eof():
                with suppress(OSError, RuntimeError):
                    self._writer.write_eof()
        with suppress(ConnectionError):  # `_read` sees the end of the stream too
            await self._writer.drain()


def replace_headers(headers: Headers, given: tuple[tuple[str, str], ...]) -> None:
    """Add headers in place of those with the same name."""
    for name in {name.lower() for name, _ in given}:
        if name in headers:
            del headers[name]
    for name, value in given:
        headers[name] = value
