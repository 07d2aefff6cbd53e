"""Ready-made frames: what each rule allows, and a mistake for each that it forbids.

Autobahn's testsuite (groups 1-7) makes the same mistakes; the cases are named here, and
docs/conformance.md lists them.
"""

from dataclasses import dataclass

from echo.lab.frames import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    RULES,
    TEXT,
    FrameSpec,
    encode,
)
from echo.protocol import CloseCode

# Of the examples in RFC 6455 section 5.7.
MASKING_KEY = b"\x37\xfa\x21\x3d"


def sent(opcode: int, payload: bytes = b"", **fields: int | None) -> FrameSpec:
    """Return a client's frame."""
    return FrameSpec(opcode, payload, **{"masking_key": MASKING_KEY} | fields)


def close(code: int, reason: bytes = b"") -> FrameSpec:
    return sent(CLOSE, code.to_bytes(2, "big") + reason)


def numbered(group: str, *numbers: int) -> tuple[str, ...]:
    """Return the names of Autobahn's cases."""
    return tuple(f"{group}.{number}" for number in numbers)


def up_to(group: str, last: int) -> tuple[str, ...]:
    return numbered(group, *range(1, last + 1))


@dataclass(frozen=True)
class Valid:
    """Frames that the echo answers."""

    name: str
    frames: tuple[FrameSpec, ...]
    # What comes back: opcodes and payloads; after a close frame the end of the stream.
    answer: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Mistake:
    """Frames, the last of which breaks a rule and fails the connection."""

    name: str
    frames: tuple[FrameSpec, ...]
    rule: str  # that is broken: a key of RULES
    cases: tuple[str, ...] = ()  # of Autobahn's that make the same mistake

    @property
    def section(self) -> str:
        return RULES[self.rule].section

    @property
    def close_code(self) -> CloseCode:
        return RULES[self.rule].close_code


VALID = (
    Valid("text", (sent(TEXT, b"Hello"),), ((TEXT, b"Hello"),)),
    Valid("empty", (sent(TEXT),), ((TEXT, b""),)),
    Valid("binary", (sent(BINARY, bytes(range(16))),), ((BINARY, bytes(range(16))),)),
    Valid("16-bit-length", (sent(TEXT, b"a" * 126),), ((TEXT, b"a" * 126),)),
    Valid(
        "fragments",
        (sent(TEXT, b"Hel", fin=False), sent(CONT, b"lo")),
        ((TEXT, b"Hello"),),
    ),
    Valid(
        "split-character",
        (sent(TEXT, "小".encode()[:1], fin=False), sent(CONT, "小".encode()[1:])),
        ((TEXT, "小".encode()),),
    ),
    Valid("ping", (sent(PING, b"Hello"),), ((PONG, b"Hello"),)),
    Valid(
        "ping-between-fragments",
        (sent(TEXT, b"Hel", fin=False), sent(PING, b"?"), sent(CONT, b"lo")),
        ((PONG, b"?"), (TEXT, b"Hello")),
    ),
    Valid("pong", (sent(PONG, b"Hello"), sent(TEXT, b"Hello")), ((TEXT, b"Hello"),)),
    Valid("close", (close(1000, b"bye"),), ((CLOSE, b"\x03\xe8bye"),)),
    Valid("close-without-code", (sent(CLOSE),), ((CLOSE, b""),)),
    Valid("close-own-code", (close(4321),), ((CLOSE, b"\x10\xe1"),)),
)

MISTAKES = (
    Mistake(
        "reserved-bit", (sent(TEXT, b"Hello", rsv=4),), "reserved-bit", up_to("3", 7)
    ),
    Mistake(
        "reserved-opcode", (sent(3, b"Hello"),), "reserved-opcode", up_to("4.1", 5)
    ),
    Mistake("reserved-control-opcode", (sent(11),), "reserved-opcode", up_to("4.2", 5)),
    Mistake("not-masked", (sent(TEXT, b"Hello", masking_key=None),), "not-masked"),
    Mistake(
        "control-too-long",
        (sent(PING, b"\xfe" * 126),),
        "control-too-long",
        ("2.5", "7.3.6"),
    ),
    Mistake(
        "control-fragmented",
        (sent(PING, b"Hel", fin=False), sent(CONT, b"lo")),
        "control-fragmented",
        up_to("5", 2),
    ),
    Mistake(
        "length-16-not-shortest",
        (sent(TEXT, b"Hello", length_bits=16),),
        "length-not-shortest",
    ),
    Mistake(
        "length-64-not-shortest",
        (sent(TEXT, b"Hello", length_bits=64),),
        "length-not-shortest",
    ),
    Mistake("length-highest-bit", (sent(BINARY, length=2**63),), "length-highest-bit"),
    Mistake("message-too-big", (sent(BINARY, length=2**20 + 1),), "message-too-big"),
    Mistake(
        "nothing-to-continue",
        (sent(CONT, b"lo"), sent(TEXT, b"Hello")),
        "nothing-to-continue",
        numbered("5", *range(9, 18)),
    ),
    Mistake(
        "message-inside-message",
        (sent(TEXT, b"Hel", fin=False), sent(TEXT, b"lo")),
        "message-inside-message",
        ("5.18",),
    ),
    Mistake(
        "impossible-bytes",
        (sent(TEXT, b"Hello \xff"),),
        "not-utf-8",
        up_to("6.12", 8) + up_to("6.16", 3),
    ),
    Mistake(
        "cut-character",
        (sent(TEXT, "κό".encode()[:-1]),),
        "not-utf-8",
        numbered("6.6", 1, 3, 4, 6, 8, 10)
        + up_to("6.13", 5)
        + up_to("6.14", 10)
        + ("6.15.1",),
    ),
    Mistake(
        "overlong",
        (sent(TEXT, b"\xc0\xaf"),),
        "not-utf-8",
        up_to("6.17", 5) + up_to("6.18", 5) + up_to("6.19", 5),
    ),
    Mistake(
        "surrogate",
        (sent(TEXT, b"\xed\xa0\x80"),),
        "not-utf-8",
        ("6.3.1", *up_to("6.20", 7), *up_to("6.21", 8)),
    ),
    Mistake(
        "beyond-unicode",
        (sent(TEXT, b"\xf4\x90\x80\x80"),),
        "not-utf-8",
        numbered("6.4", 3, 4) + up_to("6.8", 2) + up_to("6.10", 3) + ("6.11.5",),
    ),
    Mistake(
        "not-utf-8-in-fragments",
        (sent(TEXT, b"\xf4", fin=False), sent(CONT, b"\x90", fin=False)),
        "not-utf-8",
        ("6.3.2", *numbered("6.4", 1, 2)),
    ),
    Mistake(
        "close-of-one-byte", (sent(CLOSE, b"\x03"),), "close-of-one-byte", ("7.3.2",)
    ),
    Mistake(
        "close-code-never-sent",
        (close(1005),),
        "close-code-never-sent",
        numbered("7.9", 3, 4, 5),
    ),
    Mistake(
        "close-code-out-of-range",
        (close(999),),
        "close-code-out-of-range",
        numbered("7.9", 1, 2, 6, 7, 8, 9) + up_to("7.13", 2),
    ),
    Mistake(
        "close-reason-not-utf-8",
        (close(1000, b"\xff"),),
        "close-reason-not-utf-8",
        ("7.5.1",),
    ),
)

EXAMPLES: dict[str, Valid | Mistake] = {
    example.name: example for example in (*VALID, *MISTAKES)
}


def bytes_of(example: Valid | Mistake) -> bytes:
    """Return an example's frames as they are sent."""
    return b"".join(map(encode, example.frames))
