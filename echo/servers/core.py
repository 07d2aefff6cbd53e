"""The WebSocket core of both servers: the frames and closing handshake of RFC 6455.

Knows bytes and frames only: no server, no socket and no application.
"""

import codecs
import sys
from collections.abc import Generator, Iterable
from typing import Any
from urllib.parse import unquote

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode, apply_mask
from websockets.protocol import Protocol as WebSocketCore
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from echo.frames import encode_frame
from echo.protocol import CloseCode
from echo.servers.heads import Head, encode_field

# How long a client may take to answer a close frame, or to stop sending after one.
CLOSE_TIMEOUT_SECONDS = 10.0
# How long a shutdown waits for answers to its close frames.
SHUTDOWN_SECONDS = 2.0
# Reading stops while the application has this much unread.
MAX_UNREAD_MESSAGES = 64
MAX_UNREAD_BYTES = 64 * 1024
# Frames that one connection may parse before the others get their turn, about 1 ms of
# work: one packet may have 40,000.
FRAMES_A_TURN = 128

OPCODES = {opcode.value: opcode for opcode in Opcode}
# Where the payload starts, after the masking key, by the seven bits of the length.
PAYLOAD_STARTS = {126: 8, 127: 14}
# The code of a disconnect event without a close frame (RFC 6455 section 7.4.1); never sent.
ABNORMAL_CLOSURE = 1006
# The close code that each error of the parser fails the connection with.
FAILURES: dict[type[Exception], int] = {
    ProtocolError: CloseCode.PROTOCOL_ERROR,
    UnicodeDecodeError: CloseCode.INVALID_DATA,
    PayloadTooBig: CloseCode.MESSAGE_TOO_BIG,
    EOFError: ABNORMAL_CLOSURE,
}


def check_frame_head(first: int, second: int) -> Opcode:
    """Return the opcode of a client's frame that begins with these two bytes.

    Raises ProtocolError for a frame that RFC 6455 section 5.2 forbids.
    """
    opcode = OPCODES.get(first & 0x0F)
    if opcode is None:
        raise ProtocolError("invalid opcode")
    if first & 0x70:
        raise ProtocolError("reserved bits must be 0")
    if not second & 0x80:
        raise ProtocolError("incorrect masking")
    if opcode >= Opcode.CLOSE:
        if second & 0x7F > 125:
            raise ProtocolError("control frame too long")
        if not first & 0x80:
            raise ProtocolError("fragmented control frame")
    return opcode


def extended_length(field: bytes | bytearray) -> int:
    """Return the length in a field of 16 or 64 bits; ProtocolError if fewer bits would do."""
    length = int.from_bytes(field, "big")
    if length < (126 if len(field) == 2 else 65536):
        raise ProtocolError("length not in its shortest form")
    if length >> 63:
        raise ProtocolError("length with its highest bit set")
    return length


def scope_of(head: Head) -> dict[str, Any]:
    """Return what a checked handshake says itself in an ASGI connection scope."""
    raw_path, _, query_string = head.target.partition(b"?")
    offers = head.elements(b"sec-websocket-protocol")
    return {
        "type": "websocket",
        "http_version": "1.1",
        "path": unquote(raw_path.decode()),
        "raw_path": raw_path,
        "query_string": query_string,
        "headers": head.headers,
        "subprotocols": [offer.decode() for offer in offers],
        "extensions": {"websocket.http.response": {}},
    }


class FaithfulFrames(WebSocketCore):
    """Reads and writes a server's frames; rejects an invalid frame by its head.

    ``websockets`` accepts a length that is not in its shortest form, and waits for the
    payload of a frame whose head is invalid. Reading the fields from one buffer is also
    faster: docs/benchmarks.md has the figures.
    """

    # Frames to parse before `turn_over`; unlimited unless a subclass sets it.
    frames_a_turn = sys.maxsize
    # True if a turn has ended and the buffer may hold more frames.
    turn_over = False

    def parse(self) -> Generator[None]:
        """Parse one turn's frames whenever bytes have arrived; never ends.

        ``websockets`` drives its parser as a generator, and replaces it to discard bytes.
        """
        while True:
            yield
            self.parse_turn()

    def parse_turn(self) -> None:
        """Parse the frames that are whole, until one fails or the turn ends."""
        self.turn_over = False
        if self.state is State.CONNECTING:
            return  # frames that arrive before the response stay in the buffer
        try:
            for _ in range(self.frames_a_turn):
                if (frame := self.read_frame()) is None:
                    return
                self.recv_frame(frame)
        except tuple(FAILURES) as error:
            self.fail_for(error)
        else:
            self.turn_over = True

    def fail_for(self, error: Exception) -> None:
        """Fail the connection with the close code for the error."""
        self.fail(FAILURES[type(error)], str(error))
        self.parser_exc = error

    def read_frame(self) -> Frame | None:
        """Return the next frame, unmasked, or None if it is not whole."""
        buffer = self.reader.buffer
        if len(buffer) < 2:
            return None
        opcode = check_frame_head(buffer[0], buffer[1])
        length = buffer[1] & 0x7F
        start = PAYLOAD_STARTS.get(length, 6)
        if len(buffer) < start:
            return None
        if start > 6:
            length = extended_length(buffer[2 : start - 4])
        if self.max_message_size is not None:
            room = self.max_message_size - (self.current_size or 0)
            if length > room and opcode < Opcode.CLOSE:
                raise PayloadTooBig(length, room, self.current_size)
        end = start + length
        if len(buffer) < end:
            return None
        payload = apply_mask(buffer[start:end], buffer[start - 4 : start])
        fin = buffer[0] > 0x7F
        del buffer[:end]
        return Frame(opcode, payload, fin)

    def send_frame(self, frame: Frame) -> None:
        """Write a frame; the servers never fragment."""
        self.writes.append(encode_frame(frame.opcode, bytes(frame.data)))


class FaithfulCore(FaithfulFrames, ServerProtocol):
    """The sans-I/O core with five differences from ``websockets``.

    - A close frame inside a fragmented message is a close, not a protocol error: RFC 6455
      section 5.4 allows control frames there.
    - Text is decoded frame by frame, so that invalid UTF-8 fails the connection as soon as
      it is seen (section 8.1).
    - No extension is negotiated: compression costs each connection 64 KB and more, and an
      echo gains nothing from it (gorilla's default too).
    - A fragmented message is one event with a whole frame. Its fragments grow one buffer:
      a frame object for each would cost 80 bytes even for an empty payload.
    - The handshake's head comes parsed and checked from the guard: reading it again took
      most of the time of a handshake.
    """

    # What few connections ever change has its first value in the class: an object with more
    # than 30 attributes of its own takes 1.2 KB more.

    # Decodes the text message whose fragments are arriving; None for a binary one, and after
    # the last fragment.
    text: codecs.IncrementalDecoder | None = None
    # The type of the message whose fragments are arriving; CONT between messages.
    message_opcode = Opcode.CONT
    # Its payload so far; None between messages.
    message: bytearray | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"extensions": None})
        # The client's Sec-WebSocket-Key, until it has been answered.
        self.key = ""

    def receive_handshake(self, head: Head) -> None:
        """Take the handshake's request, which the guard has checked."""
        (key,) = head.get_all(b"sec-websocket-key")
        self.key = key.decode()

    def send_handshake(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Accept the handshake, with more headers; parse the frames that arrived before.

        Raises ValueError for a header that would not be one line.
        """
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + accept_key(self.key).encode(),
            *map(encode_field, headers),
        ]
        self.key = ""
        self.writes.append(b"\r\n".join([*lines, b"", b""]))
        self.state = State.OPEN
        if self.reader.buffer:
            next(self.parser)

    def recv_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            # The base class fails a close inside a fragmented message.
            self.current_size = None
        elif opcode is Opcode.CONT and self.text:
            self.text.decode(frame.data, frame.fin)
        elif opcode is Opcode.TEXT and frame.fin:
            frame.data.decode()
        elif opcode is Opcode.TEXT:
            self.text = codecs.getincrementaldecoder("utf-8")()
            self.text.decode(frame.data)
        elif opcode is Opcode.BINARY:
            self.text = None
        super().recv_frame(frame)
        if opcode is Opcode.CONT or not frame.fin:
            self.assemble(frame)

    def assemble(self, fragment: Frame) -> None:
        """Remove a fragment's event; after the last fragment, add the message's."""
        self.events.pop()
        if fragment.opcode is not Opcode.CONT:
            self.message_opcode = fragment.opcode
        if self.message is None:
            self.message = bytearray()
        self.message += fragment.data
        if fragment.fin:
            self.events.append(Frame(self.message_opcode, bytes(self.message)))
            self.message = self.text = None


class DeferringCore(FaithfulCore):
    """Defers the end of a connection until the application has handled all messages.

    Otherwise a close or an error that arrives together with messages would overtake their
    echoes. The end of the client's stream is deferred in the same way: after a half-close
    the client still reads.
    """

    frames_a_turn = FRAMES_A_TURN
    # The close frame or the error that ends the connection once the application waits.
    deferred: Frame | Exception | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # The application has handled every message and waits for the next event.
        self.application_waits = False
        # The longest message that `read_alone` takes: its length is in seven bits.
        limit = self.max_message_size
        self.max_alone_bytes = 125 if limit is None else min(125, limit)

    def read_alone(self, packet: bytes) -> str | bytes | None:
        """Return the message in a packet that has one short whole frame; None for any other.

        Most messages arrive like that, and need no buffer and no event. Any other packet,
        an invalid one too, is for ``receive_data``.
        """
        length = len(packet) - 6
        if (
            not 0 <= length <= self.max_alone_bytes
            or packet[1] != 0x80 | length
            or self.state is not State.OPEN
            or self.reader.buffer
            or self.current_size is not None  # between the fragments of a message
            or self.deferred is not None
        ):
            return None
        message: str | bytes = apply_mask(packet[6:], packet[2:6])
        if packet[0] == 0x80 | Opcode.TEXT:
            try:
                message = message.decode()
            except UnicodeDecodeError:
                return None
        elif packet[0] != 0x80 | Opcode.BINARY:
            return None
        self.application_waits = False
        return message

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CLOSE:
            super().recv_frame(frame)
            if frame.fin and frame.opcode < Opcode.CLOSE:  # a message is whole
                self.application_waits = False
        elif not self.defers(frame):
            super().recv_frame(frame)

    def fail_for(self, error: Exception) -> None:
        if not self.defers(error):
            super().fail_for(error)

    def receive_eof(self) -> None:
        """Take the end of the client's stream; no-op if a close or an error is deferred."""
        if self.reader.eof:
            return
        self.reader.feed_eof()
        if self.deferred is None and not self.eof_sent:
            self.fail_for(EOFError("the stream ended without a close frame"))

    def take_turn(self) -> None:
        """Parse the next turn's frames."""
        self.turn_over = False
        next(self.parser)

    def send_close(self, code: int | None = None, reason: str = "") -> None:
        super().send_close(code, reason)
        self.apply_deferred()

    def defers(self, end: Frame | Exception) -> bool:
        """Keep the end for ``apply_deferred`` if the application is busy; return if so."""
        if self.state is not State.OPEN or self.application_waits:
            return False
        self.deferred = end
        self.parser = self.discard_all()
        next(self.parser)
        return True

    def discard_all(self) -> Generator[None]:
        """Discard whatever follows a close frame (RFC 6455 section 1.4)."""
        while True:
            self.reader.discard()
            yield

    def apply_deferred(self) -> None:
        """Process the deferred close or error as if it had arrived now."""
        end, self.deferred = self.deferred, None
        try:
            if isinstance(end, Frame):
                super().recv_frame(end)
            elif end:
                raise end
        except tuple(FAILURES) as error:
            super().fail_for(error)
