"""Builds WebSocket frames, valid or not, and reads bytes into frames (RFC 6455 section 5.2).

What it returns has names and numbers and no sentences: the page translates them. The servers
do not use it; a test compares its judgements with theirs.
"""

import codecs
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.utils.translation import gettext as _
from websockets.frames import apply_mask

from echo.lab.bounds import LabError, one_of, whole_number
from echo.protocol import CloseCode, is_sendable_close_code, quoted

# Of bytes that are read or sent at once, and of the payload of a frame that is built.
MAX_BYTES = 16 * 1024
MAX_PAYLOAD_BYTES = 8 * 1024
# Frames read at once.
MAX_FRAMES = 100

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
OPCODES = frozenset({CONT, TEXT, BINARY, CLOSE, PING, PONG})
MAX_CONTROL_BYTES = 125
# Two bytes, the longest length, and the masking key.
MAX_HEADER_BYTES = 14
# The shortest length that needs each form, by the bits of the form.
SHORTEST = {7: 0, 16: 126, 64: 65536}
# The longest that fits in it.
LONGEST = {7: 125, 16: 0xFFFF, 64: 2**64 - 1}
# The bits after the first byte that hold the length, by its seven bits.
EXTENDED_BITS = {126: 16, 127: 64}
# The code of a close frame without a code (section 7.1.5); never on the wire.
NO_STATUS_RECEIVED = 1005
# Codes that section 7.4.1 keeps off the wire; others are out of section 7.4.2's ranges.
NEVER_ON_THE_WIRE = frozenset({1004, 1005, 1006, 1015})
# JavaScript's numbers are exact up to here.
MAX_EXACT = 2**53 - 1

SENDERS = ("client", "server")
LENGTH_FORMS = ("shortest", "7", "16", "64")
HEX = re.compile(r"[0-9A-Fa-f]*")
NOT_DIGITS = re.compile(r"0x|\\x|[\s,:]+")


class Rule(NamedTuple):
    """A rule that a frame can break."""

    section: str  # of RFC 6455
    close_code: CloseCode  # that the receiver fails the connection with


RULES = {
    "reserved-opcode": Rule("5.2", CloseCode.PROTOCOL_ERROR),
    "reserved-bit": Rule("5.2", CloseCode.PROTOCOL_ERROR),
    "not-masked": Rule("5.1", CloseCode.PROTOCOL_ERROR),
    "masked": Rule("5.1", CloseCode.PROTOCOL_ERROR),
    "control-too-long": Rule("5.5", CloseCode.PROTOCOL_ERROR),
    "control-fragmented": Rule("5.5", CloseCode.PROTOCOL_ERROR),
    "length-not-shortest": Rule("5.2", CloseCode.PROTOCOL_ERROR),
    "length-highest-bit": Rule("5.2", CloseCode.PROTOCOL_ERROR),
    "message-too-big": Rule("7.4.1", CloseCode.MESSAGE_TOO_BIG),
    "nothing-to-continue": Rule("5.4", CloseCode.PROTOCOL_ERROR),
    "message-inside-message": Rule("5.4", CloseCode.PROTOCOL_ERROR),
    "not-utf-8": Rule("8.1", CloseCode.INVALID_DATA),
    "close-of-one-byte": Rule("5.5.1", CloseCode.PROTOCOL_ERROR),
    "close-code-never-sent": Rule("7.4.1", CloseCode.PROTOCOL_ERROR),
    "close-code-out-of-range": Rule("7.4.2", CloseCode.PROTOCOL_ERROR),
    "close-reason-not-utf-8": Rule("5.5.1", CloseCode.INVALID_DATA),
}
# Where the standard says what a payload is, by opcode.
PAYLOAD_SECTIONS = {CONT: "5.4", CLOSE: "5.5.1", PING: "5.5.2", PONG: "5.5.3"}


# --- building --------------------------------------------------------------------------


@dataclass(frozen=True)
class FrameSpec:
    """Each bit and field of a frame to build."""

    opcode: int = TEXT
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0  # RSV1 is 4, RSV2 is 2, RSV3 is 1
    masking_key: bytes | None = None  # four bytes; None: MASK is 0
    length: int | None = None  # what the head says; None: the payload's
    length_bits: int | None = None  # 7, 16 or 64; None: the shortest form that fits

    @property
    def declared_length(self) -> int:
        return len(self.payload) if self.length is None else self.length


def encode(spec: FrameSpec) -> bytes:
    """Return the frame's bytes. Raises LabError if the length does not fit in its form."""
    first = spec.fin << 7 | spec.rsv << 4 | spec.opcode
    key = spec.masking_key
    head = bytes([first]) + encode_length(spec, 0 if key is None else 0x80)
    if key is None:
        return head + spec.payload
    return head + key + apply_mask(spec.payload, key)


def encode_length(spec: FrameSpec, mask: int) -> bytes:
    length = spec.declared_length
    bits = spec.length_bits
    if bits is None:
        bits = next((form for form in LONGEST if length <= LONGEST[form]), 64)
    if length > LONGEST[bits]:
        raise LabError(
            _("length: expected at most %(longest)s in %(bits)s bits, got %(length)s")
            % {"longest": LONGEST[bits], "bits": bits, "length": length}
        )
    if bits == 7:
        return bytes([mask | length])
    if bits == 16:
        return struct.pack("!BH", mask | 126, length)
    return struct.pack("!BQ", mask | 127, length)


def spec_from(settings: Mapping[str, Any]) -> FrameSpec:
    """Return the frame that a visitor has set. Raises LabError."""
    form = one_of(settings, "length_form", LENGTH_FORMS, "shortest")
    masking_key = hex_bytes(settings, "masking_key", 4)
    if len(masking_key) not in (0, 4):
        raise LabError(_("masking_key: expected eight hexadecimal digits"))
    return FrameSpec(
        opcode=whole_number(settings, "opcode", 0, 15, TEXT),
        payload=payload_from(settings),
        fin=bool(settings.get("fin", True)),
        rsv=whole_number(settings, "rsv", 0, 7, 0),
        masking_key=(masking_key or bytes(4)) if settings.get("mask", True) else None,
        length=length_from(settings),
        length_bits=None if form == "shortest" else int(form),
    )


def payload_from(settings: Mapping[str, Any]) -> bytes:
    kind = one_of(settings, "payload_kind", ("text", "hex"), "text")
    if kind == "hex":
        return hex_bytes(settings, "payload", MAX_PAYLOAD_BYTES)
    payload = settings.get("payload", "")
    try:
        encoded = payload.encode()
    except (AttributeError, UnicodeEncodeError):
        raise LabError(
            _("payload: expected text, got %(got)s") % {"got": quoted(payload)}
        ) from None
    if len(encoded) > MAX_PAYLOAD_BYTES:
        raise too_long("payload", MAX_PAYLOAD_BYTES, len(encoded))
    return encoded


def length_from(settings: Mapping[str, Any]) -> int | None:
    """Return the length to declare, given in digits: JavaScript has no number so long."""
    digits = settings.get("length", "")
    if digits in ("", None):
        return None
    if not isinstance(digits, str) or not re.fullmatch(r"[0-9]{1,20}", digits):
        raise LabError(
            _("length: expected up to 20 digits, or nothing, got %(got)s")
            % {"got": quoted(digits)}
        )
    return int(digits)


def hex_bytes(settings: Mapping[str, Any], name: str, limit: int) -> bytes:
    """Return the bytes in a setting of hexadecimal digits. Raises LabError.

    Spaces, commas, colons, ``0x`` and ``\\x`` may stand between them, as tools print them.
    """
    text = settings.get(name, "")
    if not isinstance(text, str):
        raise LabError(_("%(name)s: expected hexadecimal digits") % {"name": name})
    if len(text) > 6 * limit:  # before a search through all of it
        raise too_long(name, limit, len(text) // 2)
    digits = NOT_DIGITS.sub("", text)
    if not HEX.fullmatch(digits) or len(digits) % 2:
        raise LabError(
            _("%(name)s: expected pairs of hexadecimal digits, got %(got)s")
            % {"name": name, "got": quoted(text)}
        )
    if len(digits) > 2 * limit:
        raise too_long(name, limit, len(digits) // 2)
    return bytes.fromhex(digits)


def too_long(name: str, limit: int, got: int) -> LabError:
    return LabError(
        _("%(name)s: expected at most %(limit)s bytes, got %(got)s")
        % {"name": name, "limit": limit, "got": got},
        413,
    )


# --- reading ---------------------------------------------------------------------------


@dataclass
class Frame:
    """A frame as far as its bytes are there; what is missing is None."""

    data: (
        bytes  # as much of it as is there; of a frame that is only looked at, the head
    )
    fin: bool = False
    rsv: int = 0
    opcode: int = 0
    masked: bool = False
    length_field: int | None = None  # the seven bits of the second byte
    header_size: int | None = None
    length: int | None = None  # of the payload, as declared
    masking_key: bytes | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read_head(cls, data: bytes) -> "Frame":
        """Return the frame that begins with these bytes, at least one."""
        first = data[0]
        frame = cls(data, bool(first & 0x80), first >> 4 & 7, first & 0x0F)
        if len(data) > 1:
            frame.read_lengths(data[1])
        return frame

    def read_lengths(self, second: int) -> None:
        data = self.data
        self.masked, self.length_field = bool(second & 0x80), second & 0x7F
        extended_end = 2 + EXTENDED_BITS.get(self.length_field, 0) // 8
        self.header_size = extended_end + 4 * self.masked
        if extended_end == 2:
            self.length = self.length_field
        elif len(data) >= extended_end:
            self.length = int.from_bytes(data[2:extended_end], "big")
        if self.masked and len(data) >= self.header_size:
            self.masking_key = data[extended_end : self.header_size]

    @property
    def size(self) -> int | None:
        """The whole frame's, as its head declares it."""
        if self.header_size is None or self.length is None:
            return None
        return self.header_size + self.length

    @property
    def has_header(self) -> bool:
        return self.header_size is not None and len(self.data) >= self.header_size

    @property
    def is_whole(self) -> bool:
        return self.has_header and len(self.data) == self.size

    @property
    def missing(self) -> int:
        """The bytes that the frame needs, or at least needs, to be whole."""
        if self.size is not None:
            return self.size - len(self.data)
        return (self.header_size or 2) - len(self.data)

    @property
    def payload(self) -> bytes:
        """The payload as far as it is there, unmasked."""
        if not self.has_header:
            return b""
        payload = self.data[self.header_size :]
        return apply_mask(payload, self.masking_key) if self.masking_key else payload

    def fail(self, rule: str, at: str) -> None:
        """Add an error, at one of the fields."""
        section, close_code = RULES[rule]
        self.errors.append(
            {
                "error": rule,
                "field": at,
                "section": section,
                "close_code": int(close_code),
            }
        )


class Receiver:
    """Judges the frames of one direction in their order, as the other end must.

    The checks are in the order in which the servers make them, so the first error has the
    close code that a server answers with.
    """

    def __init__(self, sender: str, max_message_bytes: int | None = None) -> None:
        self.sender = sender  # "client", which must mask, or "server", which must not
        self.max_message_bytes = max_message_bytes  # None: without a limit
        self.message_bytes: int | None = None  # so far; None between messages
        # Checks the text message whose fragments arrive; None for a binary one.
        self.text: codecs.IncrementalDecoder | None = None

    def judge(self, frame: Frame) -> None:
        """Add the frame's errors to it, those that its bytes so far prove."""
        if frame.length_field is not None:
            self.judge_head(frame)
        if frame.has_header:
            self.judge_length(frame)
        if frame.is_whole and frame.opcode == CLOSE:
            self.judge_close(frame)
        elif frame.is_whole and frame.opcode <= BINARY:
            self.judge_data(frame)

    def judge_head(self, frame: Frame) -> None:
        """Check the first two bytes (sections 5.1, 5.2 and 5.5)."""
        if frame.opcode not in OPCODES:
            frame.fail("reserved-opcode", "opcode")
        for number, bit in enumerate((4, 2, 1), 1):
            if frame.rsv & bit:
                frame.fail("reserved-bit", f"rsv{number}")
        if self.sender == "client" and not frame.masked:
            frame.fail("not-masked", "mask")
        if self.sender == "server" and frame.masked:
            frame.fail("masked", "mask")
        if frame.opcode >= CLOSE:
            if (frame.length_field or 0) > MAX_CONTROL_BYTES:
                frame.fail("control-too-long", "length")
            if not frame.fin:
                frame.fail("control-fragmented", "fin")

    def judge_length(self, frame: Frame) -> None:
        bits = EXTENDED_BITS.get(frame.length_field or 0, 7)
        length = frame.length or 0
        if length < SHORTEST[bits]:
            frame.fail("length-not-shortest", "extended_length")
        if length >> 63:
            frame.fail("length-highest-bit", "extended_length")
        limit = self.max_message_bytes
        is_data = frame.opcode < CLOSE
        if is_data and limit is not None and length > limit - (self.message_bytes or 0):
            frame.fail("message-too-big", "extended_length" if bits > 7 else "length")

    def judge_data(self, frame: Frame) -> None:
        """Check the text of a message, and the order of its fragments."""
        is_inside = self.message_bytes is not None
        if frame.opcode == TEXT or (frame.opcode == CONT and is_inside and self.text):
            self.judge_text(frame)
        if frame.opcode == CONT and not is_inside:
            frame.fail("nothing-to-continue", "opcode")
            return
        if frame.opcode != CONT:
            if is_inside:
                frame.fail("message-inside-message", "opcode")
            self.message_bytes = 0
            if frame.opcode == BINARY:
                self.text = None
        assert self.message_bytes is not None
        self.message_bytes += len(frame.payload)
        if frame.fin:
            self.message_bytes = self.text = None

    def judge_text(self, frame: Frame) -> None:
        if frame.opcode == TEXT:
            self.text = codecs.getincrementaldecoder("utf-8")()
        assert self.text is not None
        try:
            self.text.decode(frame.payload, frame.fin)
        except UnicodeDecodeError:
            frame.fail("not-utf-8", "payload")
            self.text.reset()

    def judge_close(self, frame: Frame) -> None:
        payload = frame.payload
        if len(payload) == 1:
            frame.fail("close-of-one-byte", "payload")
        elif payload:
            try:
                payload[2:].decode()
            except UnicodeDecodeError:
                frame.fail("close-reason-not-utf-8", "close_reason")
            code = int.from_bytes(payload[:2], "big")
            if code in NEVER_ON_THE_WIRE:
                frame.fail("close-code-never-sent", "close_code")
            elif not is_sendable_close_code(code):
                frame.fail("close-code-out-of-range", "close_code")


class FrameReader:
    """Reads the bytes of one direction of a connection, in any pieces, into frames."""

    def __init__(
        self,
        sender: str,
        max_message_bytes: int | None = None,
        shown_bytes: int = MAX_BYTES,
    ) -> None:
        self.receiver = Receiver(sender, max_message_bytes)  # judges the frames
        self.shown_bytes = shown_bytes  # of a payload, in a frame's description
        self.buffer = bytearray()  # received and not read yet
        self.position = 0  # of the buffer's beginning in the stream
        self.frames_read = 0  # so far
        # How the receiver ends the connection: the number of the frame, the close code, and
        # the frame's first error, or None for a valid close frame.
        self.end: dict[str, Any] | None = None

    def feed(self, data: bytes, at_most: int | None = None) -> list[dict[str, Any]]:
        """Take bytes; return a description of each frame that is whole now.

        ``at_most`` is for bytes of a stranger: a description takes longer than a frame of
        two bytes to send. The frames beyond it stay in the buffer.
        """
        self.buffer += data
        frames: list[dict[str, Any]] = []
        start = 0
        while len(frames) != at_most and (frame := self.frame_at(start)) is not None:
            frames.append(self.take(frame, self.position + start))
            start += len(frame.data)
        del self.buffer[:start]
        self.position += start
        return frames

    def frame_at(self, start: int) -> Frame | None:
        """Return the frame at a place in the buffer, or None if it is not whole."""
        head = bytes(self.buffer[start : start + MAX_HEADER_BYTES])
        frame = Frame.read_head(head) if head else None
        if frame is None or frame.size is None:
            return None
        if len(self.buffer) - start < frame.size:
            return None
        frame.data = bytes(self.buffer[start : start + frame.size])
        return frame

    def rest(self) -> dict[str, Any] | None:
        """Return a description of the frame that is cut, or None."""
        if not self.buffer:
            return None
        return self.take(Frame.read_head(bytes(self.buffer)), self.position)

    def take(self, frame: Frame, start: int) -> dict[str, Any]:
        """Judge the next frame; return its description."""
        is_text = frame.opcode == TEXT or (
            frame.opcode == CONT and self.receiver.text is not None
        )
        self.receiver.judge(frame)
        described = describe(frame, self.shown_bytes, is_text=is_text) | {
            "start": start,
            # What follows a close frame or an error is not read (sections 1.4 and 7.1.7).
            "unread": self.end is not None,
        }
        if self.end is None:
            self.end = end_of_connection(frame, self.frames_read)
        self.frames_read += 1
        return described


def end_of_connection(frame: Frame, number: int) -> dict[str, Any] | None:
    """Return how a frame ends its connection, or None if it does not."""
    if frame.errors:
        first = frame.errors[0]
        return {
            "frame": number,
            "close_code": first["close_code"],
            "error": first["error"],
        }
    if frame.opcode != CLOSE or not frame.is_whole:
        return None
    code = int.from_bytes(frame.payload[:2], "big") or NO_STATUS_RECEIVED
    return {"frame": number, "close_code": code, "error": None}


def decode(
    data: bytes, sender: str, max_message_bytes: int | None = None
) -> dict[str, Any]:
    """Return the frames in the bytes, the last of which may be cut, and how they end.

    Raises LabError for more than MAX_FRAMES.
    """
    reader = FrameReader(sender, max_message_bytes)
    frames = reader.feed(data, MAX_FRAMES)
    if rest := reader.rest():
        frames.append(rest)
    if len(frames) > MAX_FRAMES:
        raise LabError(
            _("expected at most %(limit)s frames, got more") % {"limit": MAX_FRAMES},
            413,
        )
    return {
        "hex": data.hex(),
        "sender": sender,
        "size": len(data),
        "frames": frames,
        "end": reader.end,
    }


# --- describing ------------------------------------------------------------------------


def describe(frame: Frame, shown_bytes: int, *, is_text: bool) -> dict[str, Any]:
    """Return a frame as JSON; a field's ``start`` and ``end`` count the frame's bytes.

    ``bits`` are of the first of them, and count from the highest, as the standard does. Of a
    long payload there is only the beginning, in ``hex`` too.
    """
    return {
        "size": len(frame.data),
        "missing": exact(frame.missing),
        # More bytes are missing than those of the head, and nobody can say how many.
        "at_least": frame.size is None,
        "hex": frame.data[: (frame.header_size or 2) + shown_bytes].hex(),
        "fin": frame.fin,
        "opcode": frame.opcode,
        "masked": frame.masked,
        "length": None if frame.length is None else exact(frame.length),
        "fields": list(fields(frame, shown_bytes, is_text=is_text)),
        "errors": frame.errors,
    }


def exact(number: int) -> int | str:
    """Return a number that JavaScript reads exactly: a long one in digits."""
    return number if number <= MAX_EXACT else str(number)


def fields(
    frame: Frame, shown_bytes: int, *, is_text: bool
) -> Iterator[dict[str, Any]]:
    """Yield the frame's fields, as far as they are whole, and the payload's beginning."""
    yield bits("fin", 0, 0, 1, int(frame.fin))
    for number, bit in enumerate((4, 2, 1), 1):
        yield bits(f"rsv{number}", 0, number, number + 1, int(bool(frame.rsv & bit)))
    yield bits("opcode", 0, 4, 8, frame.opcode)
    if frame.length_field is None or frame.header_size is None:
        return
    yield bits("mask", 1, 0, 1, int(frame.masked))
    yield bits("length", 1, 1, 8, frame.length_field)
    extended_end = frame.header_size - 4 * frame.masked
    if frame.length is not None and extended_end > 2:
        yield part("extended_length", 2, extended_end, exact(frame.length), "5.2")
    if frame.masking_key is not None:
        yield part(
            "masking_key",
            extended_end,
            frame.header_size,
            frame.masking_key.hex(),
            "5.3",
        )
    if frame.has_header:
        yield from payload_fields(
            frame, frame.header_size, shown_bytes, is_text=is_text
        )


def payload_fields(
    frame: Frame, start: int, shown_bytes: int, *, is_text: bool
) -> Iterator[dict[str, Any]]:
    payload, section = frame.payload, PAYLOAD_SECTIONS.get(frame.opcode, "5.6")
    if not payload:
        return
    shown = payload[:shown_bytes]
    yield part("payload", start, start + len(payload), shown.hex(), section) | {
        "text": text_of(shown) if is_text else None,
        "hidden": len(payload) - len(shown),
    }
    if frame.opcode == CLOSE and len(payload) > 1:
        code = int.from_bytes(payload[:2], "big")
        yield part("close_code", start, start + 2, code, "7.4")
        if len(payload) > 2:
            reason = text_of(payload[2:])
            yield part("close_reason", start + 2, start + len(payload), reason, "7.1.6")


def text_of(payload: bytes) -> str:
    """Return the payload as text, with U+FFFD for each byte that is none."""
    return payload.decode(errors="replace")


def bits(name: str, start: int, first: int, end: int, value: int) -> dict[str, Any]:
    return part(name, start, start + 1, value, "5.2") | {"bits": [first, end]}


def part(name: str, start: int, end: int, value: Any, section: str) -> dict[str, Any]:
    return {
        "field": name,
        "start": start,
        "end": end,
        "value": value,
        "section": section,
    }
