"""The rules of RFC 6455 under both servers: frames, and the core that answers them.

Knows bytes and frames only: no server, no socket and no application.
"""

import codecs
import struct
import sys
from collections.abc import Generator
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode, apply_mask
from websockets.http11 import Request, Response
from websockets.protocol import Protocol as WebSocketCore
from websockets.protocol import State
from websockets.server import ServerProtocol

from echo.protocol import CloseCode
from echo.servers.heads import parse_head

# How long a peer may take to answer a close frame, or to stop sending after one.
CLOSE_TIMEOUT_SECONDS = 10.0
# How long a shutdown waits for its close frames to be answered.
SHUTDOWN_SECONDS = 2.0
# A connection whose application has this much still to read is not read from.
MAX_UNREAD_MESSAGES = 64
MAX_UNREAD_BYTES = 64 * 1024
# A connection gives way to the others after this many frames, about 1 ms of work: one
# packet holds up to 40,000.
FRAMES_A_TURN = 128

OPCODES = {opcode.value: opcode for opcode in Opcode}
# Where the payload starts, after the masking key, by the seven bits of the length.
PAYLOAD_STARTS = {126: 8, 127: 14}
# What an application is told of a connection that ended without a close frame (RFC 6455
# section 7.4.1); never sent.
ABNORMAL_CLOSURE = 1006
FAILURES: dict[type[Exception], int] = {
    ProtocolError: CloseCode.PROTOCOL_ERROR,
    UnicodeDecodeError: CloseCode.INVALID_DATA,
    PayloadTooBig: CloseCode.MESSAGE_TOO_BIG,
    EOFError: ABNORMAL_CLOSURE,
}


def judge_head(first: int, second: int) -> Opcode:
    """The opcode of a client's frame with these two bytes; ProtocolError for a wrong one."""
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
    """The length in its 16 or 64 bits; ProtocolError unless fewer would not do."""
    length = int.from_bytes(field, "big")
    if length < (126 if len(field) == 2 else 65536):
        raise ProtocolError("length not in its shortest form")
    if length >> 63:
        raise ProtocolError("length with its highest bit set")
    return length


class FaithfulFrames(WebSocketCore):
    """Reads and writes a server's frames; one that is wrong fails by its head.

    ``websockets`` takes a length that is not in its shortest form, and waits for the
    payload of a frame that cannot be right. Reading the fields where they lie, in one
    buffer, is faster too: docs/benchmarks.md has the figures.
    """

    frames_a_turn = sys.maxsize
    # True when a turn has ended with bytes that may hold more frames.
    turn_over = False

    def parse(self) -> Generator[None]:
        try:
            while True:
                for _ in range(self.frames_a_turn):
                    self.recv_frame((yield from self.read_frame()))
                self.turn_over = True
                yield
                self.turn_over = False
        except tuple(FAILURES) as error:
            self.fail_for(error)
        yield

    def fail_for(self, error: Exception) -> None:
        """Fails the connection with the close code of the error."""
        self.fail(FAILURES[type(error)], str(error))
        self.parser_exc = error

    def read_frame(self) -> Generator[None, None, Frame]:
        """The next frame, unmasked."""
        buffer = self.reader.buffer
        while len(buffer) < 2:
            yield
        opcode = judge_head(buffer[0], buffer[1])
        length = buffer[1] & 0x7F
        start = PAYLOAD_STARTS.get(length, 6)
        while len(buffer) < start:
            yield
        if start > 6:
            length = extended_length(buffer[2 : start - 4])
        if self.max_message_size is not None:
            room = self.max_message_size - (self.current_size or 0)
            if length > room:
                raise PayloadTooBig(length, room, self.current_size)
        end = start + length
        while len(buffer) < end:
            yield
        payload = apply_mask(buffer[start:end], buffer[start - 4 : start])
        fin = buffer[0] > 0x7F
        del buffer[:end]
        return Frame(opcode, payload, fin)

    def send_frame(self, frame: Frame) -> None:
        length = len(frame.data)
        head = frame.opcode | 0x80 * frame.fin
        if length < 126:
            packed = struct.pack("!BB", head, length)
        elif length < 65536:
            packed = struct.pack("!BBH", head, 126, length)
        else:
            packed = struct.pack("!BBQ", head, 127, length)
        self.writes.append(packed + frame.data)


class FaithfulCore(ServerProtocol, FaithfulFrames):
    """The sans-I/O core with five departures from ``websockets``.

    RFC 6455 section 5.4 lets control frames stand inside a fragmented message, so a close
    there is a close, not a protocol error. Text is checked frame by frame, so that invalid
    UTF-8 fails the connection as soon as it is seen (section 8.1). No extension is
    negotiated: compression costs each connection 64 KB and more, for which an echo of what
    was sent has no use (gorilla's default too). A fragmented message is one event, a
    whole frame: its fragments grow one buffer, because a frame object for each would cost
    80 bytes for a payload of none. And the head has been judged before it comes here, and
    bounded by 64 KiB; ``websockets`` would go silent over a line of 8 KB.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"extensions": None})
        self.text: codecs.IncrementalDecoder | None = None
        # The type and the payload so far of a message that comes in fragments.
        self.message_opcode = Opcode.CONT
        self.message = bytearray()

    def parse(self) -> Generator[None]:
        self.events.append((yield from self.read_request()))
        while self.state is State.CONNECTING:  # frames that are early wait
            yield
        yield from FaithfulFrames.parse(self)

    def read_request(self) -> Generator[None, None, Request]:
        """Return the handshake's request, which the server's guard has let pass."""
        buffer = self.reader.buffer
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            yield
        head = parse_head(bytes(buffer[: end + 4]))
        del buffer[: end + 4]
        headers = Headers(
            [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
        )
        return Request(
            head.target.decode(), headers, head.method.decode(), head.version.decode()
        )

    def send_response(self, response: Response) -> None:
        super().send_response(response)
        if self.state is State.OPEN:
            next(self.parser)  # takes the frames that were early

    def recv_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
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
        """Replace the event of a fragment by the event of its message, at the last one."""
        self.events.pop()
        if fragment.opcode is not Opcode.CONT:
            self.message_opcode = fragment.opcode
        self.message += fragment.data
        if fragment.fin:
            self.events.append(Frame(self.message_opcode, bytes(self.message)))
            self.message = bytearray()


class PatientCore(FaithfulCore):
    """Ends a conversation only when the application is done with what came before.

    Otherwise a close or an error that arrives together with messages would overtake their
    echoes. The end of the client's stream is held back in the same way: a half-close says
    that nothing more comes, not that nobody reads.
    """

    frames_a_turn = FRAMES_A_TURN

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.application_waits = False
        self.held: Frame | Exception | None = None

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CLOSE:
            super().recv_frame(frame)
            if frame.fin and frame.opcode < Opcode.CLOSE:  # a message is whole
                self.application_waits = False
        elif not self.holds(frame):
            super().recv_frame(frame)

    def fail_for(self, error: Exception) -> None:
        if not self.holds(error):
            super().fail_for(error)

    def receive_eof(self) -> None:
        """Take the end of the client's stream; a close or an error before it comes first."""
        if self.reader.eof:
            return
        self.reader.feed_eof()
        if self.held is None and not self.eof_sent:
            self.fail_for(EOFError("the stream ended without a close frame"))

    def take_turn(self) -> None:
        """Parse on where the last turn ended."""
        self.turn_over = False
        next(self.parser)

    def send_close(self, code: int | None = None, reason: str = "") -> None:
        super().send_close(code, reason)
        self.take_held()

    def holds(self, ending: Frame | Exception) -> bool:
        """Keeps the ending for ``take_held`` while the application is busy."""
        if self.state is not State.OPEN or self.application_waits:
            return False
        self.held = ending
        self.parser = self.ignore()
        next(self.parser)
        return True

    def ignore(self) -> Generator[None]:
        """Whatever follows a close frame is discarded (RFC 6455 section 1.4)."""
        while True:
            self.reader.discard()
            yield

    def take_held(self) -> None:
        """Takes the held close or error as if it had arrived now."""
        ending, self.held = self.held, None
        try:
            if isinstance(ending, Frame):
                super().recv_frame(ending)
            elif ending:
                raise ending
        except tuple(FAILURES) as error:
            super().fail_for(error)
