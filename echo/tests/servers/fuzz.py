"""Makes odd frames and handshakes from a seed, and checks a server's answers.

The same seed makes the same bytes. The checks do not know the expected answer to each input,
only what a server must never send.
"""

import base64
import random
import struct
from collections.abc import Callable
from http import HTTPStatus

from echo.protocol import is_sendable_close_code
from echo.tests.servers.frames import Frame, Opcode, encode

CONTROL = (Opcode.CLOSE, Opcode.PING, Opcode.PONG)
FRAMES_PER_CONNECTION = 10
TEXTS = ["", "hello", "小王子", "🎉" * 30, "é\0\x7f", "a" * 125, "b" * 126, "c" * 300]
NOT_UTF_8 = [
    b"\xff",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe5\xb0",
    b"a\x80",
]
LENGTHS = [0, 1, 125, 126, 127, 1000, 65535, 65536]
BAD_LENGTHS = [2**63, 2**64 - 1, 2**62, 2**40, 1024 * 1024 + 1]
CODES = [0, 999, 1000, 1001, 1004, 1005, 1006, 1007, 1014, 1015, 1016, 2999, 3000, 4999]
CODES += [5000, 65535]


class Wrong(AssertionError):
    """A server has sent what it must not."""


# --- frames ----------------------------------------------------------------------------


def some_bytes(chance: random.Random, length: int) -> bytes:
    return chance.randbytes(min(length, 64)) * (length // 64 + 1)


def message(chance: random.Random) -> bytes:
    """Return a message in one frame."""
    if chance.random() < 0.5:
        return encode(Opcode.TEXT, chance.choice(TEXTS).encode())
    length = chance.choice(LENGTHS if chance.random() < 0.1 else LENGTHS[:5])
    return encode(Opcode.BINARY, some_bytes(chance, length)[:length])


def fragments(chance: random.Random) -> bytes:
    """Return a text in fragments that split its characters, with control frames between."""
    text = chance.choice(TEXTS).encode()
    cuts = sorted(chance.choices(range(len(text) + 1), k=chance.randint(1, 5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    frames = []
    for number, piece in enumerate(pieces):
        opcode = Opcode.CONT if number else Opcode.TEXT
        frames.append(encode(opcode, piece, fin=number == len(pieces) - 1))
        if chance.random() < 0.3:
            frames.append(control(chance))
    return b"".join(frames)


def control(chance: random.Random) -> bytes:
    """Return a ping, or an unsolicited pong."""
    payload = chance.randbytes(chance.choice([0, 1, 4, 125]))
    return encode(chance.choice([Opcode.PING, Opcode.PONG]), payload)


def flood(chance: random.Random) -> bytes:
    return b"".join(control(chance) for _ in range(chance.randint(2, 20)))


def close(chance: random.Random) -> bytes:
    """Return a close frame with a code and a reason, valid or not."""
    payload = struct.pack("!H", chance.choice(CODES))
    payload += chance.choice([b"", b"bye", b"\xff", "再见".encode(), b"x" * 123])
    return encode(Opcode.CLOSE, payload[: chance.choice([0, 1, 2, 200])])


def broken(chance: random.Random) -> bytes:
    """Return a frame with one violation of RFC 6455."""
    opcode = chance.choice([*Opcode])
    kinds: list[Callable[[], bytes]] = [
        lambda: encode(opcode, b"x", rsv=chance.randint(1, 7)),
        lambda: encode(chance.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), b"x"),
        lambda: encode(opcode, b"x", mask=False),
        lambda: encode(Opcode.BINARY, b"x" * 9, length_bits=chance.choice([16, 64])),
        lambda: encode(opcode, length_bits=64, length=chance.choice(BAD_LENGTHS)),
        lambda: encode(chance.choice(CONTROL), b"x" * 126),
        lambda: encode(chance.choice(CONTROL), b"x", fin=False),
        lambda: encode(Opcode.CONT, b"x"),
        lambda: encode(Opcode.TEXT, b"a", fin=False) + encode(Opcode.BINARY, b"b"),
        lambda: encode(Opcode.TEXT, chance.choice(NOT_UTF_8)),
        lambda: encode(Opcode.CLOSE, b"\x03"),
        lambda: encode(Opcode.CLOSE, struct.pack("!H", chance.choice(CODES))),
        lambda: encode(Opcode.CLOSE, b"\x03\xe8" + chance.choice(NOT_UTF_8)),
        lambda: chance.randbytes(chance.randint(1, 60)),
    ]
    return chance.choice(kinds)()


def flipped(chance: random.Random, data: bytes) -> bytes:
    """Return the bytes with a few bits flipped, mostly in the first bytes, the head."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place = min(int(chance.expovariate(0.2)), len(changed) - 1)
        changed[place] ^= 1 << chance.randint(0, 7)
    return bytes(changed)


def odd_frames(chance: random.Random) -> list[bytes]:
    """Return the bytes of one connection: mostly valid frames, so that the bad one is read."""
    makers = [message, fragments, control, flood]
    frames = [chance.choice(makers)(chance) for _ in range(FRAMES_PER_CONNECTION - 1)]
    frames.insert(
        chance.randint(3, len(frames)), chance.choice([broken, close])(chance)
    )
    if chance.random() < 0.4:
        place = chance.randrange(len(frames))
        frames[place] = flipped(chance, frames[place])
    return frames


def cut(chance: random.Random, data: bytes) -> list[bytes]:
    """Return the same bytes in a few pieces, as TCP may deliver them."""
    cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randint(0, 4)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def check_frames(data: bytes) -> None:
    """Raise Wrong for bytes that no server may send after its handshake (RFC 6455)."""
    rest, message_open, is_closed = data, False, False
    while rest:
        frame, rest = parse_frame(rest)
        if frame.opcode == Opcode.CLOSE:
            if is_closed:
                raise Wrong("a second close frame")
            check_close(frame.payload)
            is_closed = True
        elif is_closed and frame.opcode != Opcode.PONG:  # section 5.5.2
            raise Wrong(f"opcode {frame.opcode} after the close frame")
        if frame.opcode <= Opcode.BINARY:
            if (frame.opcode == Opcode.CONT) != message_open:
                raise Wrong(f"opcode {frame.opcode} out of order")
            message_open = not frame.fin
        if frame.opcode == Opcode.TEXT and frame.fin:
            check_utf_8(frame.payload)


def parse_frame(data: bytes) -> tuple[Frame, bytes]:
    """Return the first frame and the bytes after it. Raises Wrong if it is malformed."""
    if len(data) < 2:
        raise Wrong(f"a cut frame at the end: {data!r}")
    head, length, start = data[0], data[1] & 127, 2
    opcode, fin = head & 15, bool(head & 0x80)
    if head & 0x70 or data[1] & 0x80 or opcode not in set(Opcode):
        raise Wrong(f"reserved bits, a mask or an unknown opcode: {data[:20]!r}")
    if opcode >= Opcode.CLOSE and (not fin or length > 125):
        raise Wrong("a control frame that is fragmented or too long")
    if length > 125:
        start = 4 if length == 126 else 10
        length = int.from_bytes(data[2:start], "big")
        if length < (126 if start == 4 else 65536):
            raise Wrong(f"a length that is not minimal: {data[:20]!r}")
    payload = data[start : start + length]
    if len(payload) < length:
        raise Wrong(f"a cut frame at the end, {len(payload)} of {length} bytes")
    return Frame(opcode, payload, fin), data[start + length :]


def check_close(payload: bytes) -> None:
    """Raise Wrong for an invalid close frame."""
    if payload:
        code = int.from_bytes(payload[:2], "big")
        if len(payload) < 2 or not is_sendable_close_code(code):
            raise Wrong(f"close code {code} may not be sent")
        check_utf_8(payload[2:])


def check_utf_8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Wrong(f"text that is not UTF-8: {payload[:40]!r}") from None


# --- handshakes ------------------------------------------------------------------------

TARGETS = [
    *("/echo", "/feed/ws", "/feed/sse", "/feed/poll", "/feed/publish", "/healthz"),
    *("/", "/hello", "/anything/x", "/nowhere", "/echo/", "*", "//", "/%", "/..", "/é"),
    *("http://127.0.0.1/echo", "http://[::1/echo", "ws://a:b@c/echo", "http:///", ""),
]
QUERIES = [
    *("delay=1ms", "delay=" + "1" * 500 + "x", "hang=1ms", "close_code=1000", "rate=1"),
    *(
        "handshake=1",
        "subprotocol=*",
        "max_message_size=1",
        "jitter=.1&seed=1",
        "x=%FF",
    ),
    *(
        "topic=news",
        "topic=a.*&topic=*",
        "topic=%00",
        "topic=staff.x",
        "topic=" + "a" * 99,
    ),
    *("since=earliest", "since=aaaaaaaa-1", "since=%F0%9F", "since=now&since=now"),
    *(
        "wait=0.01",
        "wait=-1",
        "wait=1e9",
        "%",
        "%zz",
        "&" * 200,
        "a=" * 200,
        "\x7f",
        "+",
    ),
]
VALUES = [
    *("", " ", "\t", "\x00", "\x01", "\x7f", "\x80", "\xff", "é", "x" * 5000, '"', ","),
    *(
        "1\r\n2",
        "a, b",
        "%00",
        "\x0b",
        "websocket, Upgrade",
        "13",
        "keep-alive, Upgrade",
    ),
    *(
        "chunked",
        "0",
        "-1",
        "9" * 30,
        "bytes=0-",
        "gzip;q=x",
        "en;q=9,*",
        "a=b; c=\xe9",
    ),
    *("sessionid=\x00", "sessionid=%ED%A0%80", "sessionid=" + "a" * 900, "=;;=,"),
    *("http://127.0.0.1", "null", "http://evil.example", "http://[", "http://a:b"),
]
NAMES = [
    *("Host", "Origin", "Cookie", "Upgrade", "Connection", "Sec-WebSocket-Key"),
    *("Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"),
    *("Content-Length", "Transfer-Encoding", "Expect", "Accept", "Accept-Language"),
    *(
        "If-None-Match",
        "Last-Event-ID",
        "Authorization",
        "X-Forwarded-For",
        "User-Agent",
    ),
    *(
        "Content-Type",
        "Range",
        "X y",
        "X\x00",
        "",
        " X",
        "X_Y",
        "\xe9",
        "daphne-root-path",
    ),
]
METHODS = [
    "GET",
    "POST",
    "HEAD",
    "OPTIONS",
    "PUT",
    "get",
    "CONNECT",
    "PRI",
    "G T",
    "\x00",
]
VERSIONS = ["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.9", "http/1.1", "HTTP/", ""]
# What a server may answer: 500 never, and 503 only where it is asked for.
ANSWERS = {int(status) for status in HTTPStatus if status < 500} | {501, 505}


def odd_handshake(chance: random.Random, port: int) -> bytes:
    """Return a request, sometimes with a body: a valid one with a few changes."""
    method, version = "GET", "HTTP/1.1"
    target = chance.choice(TARGETS[:5] if chance.random() < 0.7 else TARGETS)
    if chance.random() < 0.6:
        target += "?" + "&".join(chance.sample(QUERIES, chance.randint(1, 3)))
    if chance.random() < 0.1:
        method = chance.choice(METHODS)
    if chance.random() < 0.1:
        version = chance.choice(VERSIONS)
    fields = [
        ("Host", f"127.0.0.1:{port}"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", base64.b64encode(chance.randbytes(16)).decode()),
        ("Sec-WebSocket-Version", "13"),
    ]
    for _ in range(chance.randint(0, 4)):
        change(chance, fields)
    line = f"{method} {target} {version}"
    end = "\n" if chance.random() < 0.03 else "\r\n"
    lines = [line, *(f"{name}: {value}" for name, value in fields), "", ""]
    head = end.join(lines).encode("latin-1", "replace")
    if chance.random() < 0.15:
        head = flipped_anywhere(chance, head)
    if chance.random() < 0.1:
        head = head[: chance.randrange(len(head))]
    return head + (
        chance.randbytes(chance.randint(0, 99)) if chance.random() < 0.1 else b""
    )


def change(chance: random.Random, fields: list[tuple[str, str]]) -> None:
    """Remove a header, repeat it or change its value, or add another one."""
    place = chance.randrange(len(fields)) if fields else 0
    kind = chance.choice(["remove", "double", "value", "add", "add"])
    if kind == "add" or not fields:
        fields.insert(place, (chance.choice(NAMES), chance.choice(VALUES)))
    elif kind == "remove":
        del fields[place]
    elif kind == "double":
        fields.append(fields[place])
    else:
        fields[place] = fields[place][0], chance.choice(VALUES)


def flipped_anywhere(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def check_answer(data: bytes) -> None:
    """Raise Wrong for an answer that is not an HTTP response, or has an unexpected status."""
    if not data:
        return  # closed without a word, as for what is no HTTP at all
    status = data[9:12]
    if not data.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or not status.isdigit():
        raise Wrong(f"no HTTP: {data[:80]!r}")
    if int(status) not in ANSWERS:
        raise Wrong(f"status {int(status)}: {data[:300]!r}")
