"""Reads HTTP requests by the rules of RFC 9112: heads, and where bodies end.

Knows bytes only: no server, no socket and no application. Each request is written out again
in one form that every parser reads alike, so that two servers, or a server and a proxy,
cannot disagree about where a request ends (request smuggling).
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import cached_property
from http import HTTPMethod
from typing import NoReturn

from echo.protocol import TAP_PATH, error_body, reason_phrase

# The request line and all header lines.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 1000
# A chunk's size and its extensions, which no client uses; trailers are discarded.
MAX_CHUNK_LINE_BYTES = 256
MAX_TRAILER_BYTES = 8 * 1024
# How much of a request an error quotes.
MAX_QUOTED_BYTES = 80

# A root path may stand before it.
TAPPED_PATH = TAP_PATH.encode()

TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
REQUEST_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/([0-9])\.([0-9])")
ABSOLUTE_TARGET = re.compile(rb"(?i:https?)://([^/?#@]+)((?:[/?#].*)?)")
FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
FIELD = re.compile(TOKEN.pattern + rb":" + FIELD_VALUE.pattern)
# All header lines of a head at once: ten of them take 3 us, and one by one 6.5.
FIELDS = re.compile(rb"(?:" + FIELD.pattern + rb"\r\n)*+")
CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
# Without CONNECT, which is for proxies.
METHODS = frozenset(method.encode() for method in HTTPMethod) - {b"CONNECT"}
# The names that every browser sends: one object for all connections, which keep their heads.
NAMES = {
    name: name
    for name in (
        b"host connection pragma cache-control user-agent upgrade origin cookie accept "
        b"accept-encoding accept-language sec-websocket-version sec-websocket-key "
        b"sec-websocket-extensions sec-websocket-protocol sec-fetch-dest sec-fetch-mode "
        b"sec-fetch-site x-forwarded-for x-forwarded-proto x-real-ip"
    ).split()
}
# Refused when repeated: two readers of the request could take different ones.
SINGLE_HANDSHAKE_HEADERS = (b"origin", b"sec-websocket-key", b"sec-websocket-version")


class Refusal(Exception):
    """A request that does not reach the application; says expected, got, and remedy."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status  # of the response
        self.detail = detail  # the reason, shown in its body
        self.headers = headers or {}  # beside those of every refusal

    def encode(self) -> bytes:
        """Return the whole response, which ends the connection."""
        body = json.dumps(error_body(self.status, self.detail), ensure_ascii=False)
        payload = body.encode()
        headers = {
            "Date": formatdate(usegmt=True),
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(payload)),
            "Cache-Control": "no-store",
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {self.status} {reason_phrase(self.status)}"]
        lines += [f"{k}: {v}" for k, v in (headers | dict(self.headers)).items()]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + payload


def quoted(value: bytes | bytearray) -> str:
    """Return the beginning of a client's bytes, escaped."""
    return repr(bytes(value[:MAX_QUOTED_BYTES]))[1:]


@dataclass
class Head:
    """A request's head: header names in lower case, values without surrounding spaces."""

    method: bytes
    target: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]
    # As it arrived, if the connection may be tapped; the class's own for any other.
    raw = b""

    def get_all(self, name: bytes) -> list[bytes]:
        """Return all values of a header; ``name`` is in lower case."""
        return [value for key, value in self.headers if key == name]

    def elements(self, name: bytes) -> list[bytes]:
        """Return the elements of a list header without the empty ones."""
        parts = b",".join(self.get_all(name)).split(b",")
        return [part for part in (part.strip(b" \t") for part in parts) if part]

    def replace(self, name: bytes, value: bytes | None) -> None:
        """Replace all values of a header by one; None removes the header."""
        places = [i for i, (key, _) in enumerate(self.headers) if key == name]
        if places and value is not None:
            self.headers[places[0]] = (name, value)
            del places[0]
        for i in reversed(places):
            del self.headers[i]

    @cached_property
    def is_handshake(self) -> bool:
        """True if the request asks for a WebSocket, in a valid way or not."""
        return b"websocket" in [part.lower() for part in self.elements(b"upgrade")]

    def encode(self) -> bytes:
        lines = [b" ".join((self.method, self.target, self.version))]
        lines += [name + b": " + value for name, value in self.headers]
        return b"\r\n".join([*lines, b"", b""])


def parse_head(data: bytes) -> Head:
    """Return the head in these bytes, which end with an empty line. Raises Refusal."""
    request_line, _, fields = data[:-2].partition(b"\r\n")
    match = REQUEST_LINE.fullmatch(request_line)
    if not match:
        raise Refusal(
            400,
            "expected a request line such as GET /path HTTP/1.1, in ASCII, "
            f"got {quoted(request_line)}",
        )
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Refusal(505, f"expected HTTP/1.1, got {quoted(request_line[-8:])}")
    lines = fields.split(b"\r\n")[:-1]
    if len(lines) > MAX_HEADERS:
        raise Refusal(431, f"expected at most {MAX_HEADERS} headers, got {len(lines)}")
    if not FIELDS.fullmatch(fields):
        refuse_field(next(line for line in lines if not FIELD.fullmatch(line)))
    headers = []
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        headers.append((NAMES.get(name, name), value.strip(b" \t")))
    version = b"HTTP/1.0" if minor == b"0" else b"HTTP/1.1"
    return Head(method, target, version, headers)


def refuse_field(line: bytes) -> NoReturn:
    """Raise the Refusal for a line that is no header (RFC 9112 section 5)."""
    raise Refusal(
        400,
        "expected a header line such as Name: value, with no space before the "
        f"colon, no folding and no control characters, got {quoted(line)}",
    )


def encode_field(field: tuple[bytes, bytes]) -> bytes:
    """Return the line of a response's header. Raises ValueError for one that is invalid."""
    line = b": ".join(field)
    if not FIELD.fullmatch(line):
        raise ValueError(f"expected a header's name and value, got {field}")
    return line


def normalize(head: Head, untrusted: frozenset[bytes]) -> None:
    """Check a head, and bring it into the form that every parser reads alike.

    Raises Refusal.
    """
    if head.method not in METHODS:
        allowed = ", ".join(sorted(method.decode() for method in METHODS))
        raise Refusal(501, f"expected one of {allowed}, got {quoted(head.method)}")
    # Django cannot tell `X_Real_Ip` from `X-Real-Ip` (CVE-2015-0219).
    head.headers = [
        (name, value)
        for name, value in head.headers
        if b"_" not in name and name not in untrusted
    ]
    if head.version == b"HTTP/1.0":  # its clients know no 100 (RFC 9110 section 10.1.1)
        head.replace(b"expect", None)
    check_forwarded(head)
    check_host(head)
    if head.is_handshake:
        check_handshake(head)
    else:  # h2c, for example, which neither server supports
        head.replace(b"upgrade", None)


def check_forwarded(head: Head) -> None:
    """Refuse X-Forwarded-… headers outside ASCII.

    A proxy forwards what the client sent, and Daphne fails to decode it as UTF-8.
    """
    for name, value in head.headers:
        if name.startswith(b"x-forwarded-") and not value.isascii():
            raise Refusal(
                400, f"expected {name.decode().title()} in ASCII, got {quoted(value)}"
            )


def check_host(head: Head) -> None:
    """Require one Host; replace it by the one in an absolute-form target.

    RFC 9112 section 3.2.
    """
    hosts = head.get_all(b"host")
    if len(hosts) > 1 or (not hosts and head.version == b"HTTP/1.1"):
        raise Refusal(
            400, f"expected one Host header (RFC 9112 section 3.2), got {len(hosts)}"
        )
    if not head.target.startswith(b"/"):
        authority, head.target = split_absolute(head.target)
        if hosts:
            head.replace(b"host", authority)
        else:
            head.headers.append((b"host", authority))
    # Not allowed in a target: some parsers end the path there, others do not.
    head.target = head.target.replace(b"#", b"%23")


def split_absolute(target: bytes) -> tuple[bytes, bytes]:
    """Return the authority and the origin-form of an absolute-form target."""
    match = ABSOLUTE_TARGET.fullmatch(target)
    if not match:
        raise Refusal(
            400,
            "expected a path that begins with /, or an http URL without a user, "
            f"got {quoted(target)}",
        )
    authority, path = match.groups()
    return authority, path if path.startswith(b"/") else b"/" + path


def check_handshake(head: Head) -> None:
    """Refuse a WebSocket handshake that breaks RFC 6455 section 4.2.1."""
    if head.method != b"GET":
        raise Refusal(
            405,
            f"expected GET for a WebSocket handshake, got {head.method.decode()}",
            {"Allow": "GET"},
        )
    if head.version != b"HTTP/1.1":
        raise Refusal(400, "expected HTTP/1.1 for a WebSocket handshake, got HTTP/1.0")
    options = tokens(head, b"connection")
    if b"upgrade" not in [option.lower() for option in options]:
        raise Refusal(
            400,
            "expected Connection: Upgrade beside Upgrade: websocket, got "
            f"{quoted(b', '.join(options))}; a proxy in between has to pass both on",
        )
    for name in SINGLE_HANDSHAKE_HEADERS:
        if len(head.get_all(name)) > 1:
            raise Refusal(400, f"expected one {name.decode().title()}, got several")
    check_version_and_key(head)
    head.replace(b"connection", b", ".join(options))
    head.replace(b"upgrade", b"websocket")
    # An empty offer would be selected by `subprotocol=*`.
    offers = b", ".join(tokens(head, b"sec-websocket-protocol"))
    head.replace(b"sec-websocket-protocol", offers or None)


def check_version_and_key(head: Head) -> None:
    """Require version 13 and a key of 16 bytes in base64."""
    version = b"".join(head.get_all(b"sec-websocket-version"))
    if version != b"13":
        raise Refusal(
            426,
            f"expected Sec-WebSocket-Version: 13, got {quoted(version)}",
            {
                "Sec-WebSocket-Version": "13",
                "Upgrade": "websocket",
                "Connection": "Upgrade, close",
            },
        )
    key = b"".join(head.get_all(b"sec-websocket-key"))
    try:
        length = len(base64.b64decode(key, validate=True))
    except binascii.Error:
        length = 0
    if length != 16:
        raise Refusal(
            400,
            f"expected a Sec-WebSocket-Key of 16 bytes in base64, got {quoted(key)}",
        )


def tokens(head: Head, name: bytes) -> list[bytes]:
    """Return the elements of a list header. Raises Refusal for one that is no token."""
    elements = head.elements(name)
    for element in elements:
        if not TOKEN.fullmatch(element):
            raise Refusal(
                400,
                f"{name.decode().title()}: expected tokens with commas between, "
                f"got {quoted(element)}",
            )
    return elements


def body_length(head: Head) -> int | None:
    """Return the body's size in bytes, or None if it is chunked (RFC 9112 section 6.3).

    Refuses both framings at once, and one of them twice: request smuggling uses these.
    """
    codings, lengths = (
        head.get_all(b"transfer-encoding"),
        head.get_all(b"content-length"),
    )
    if head.is_handshake and (codings or set(lengths) - {b"0"}):
        raise Refusal(400, "expected a WebSocket handshake without a body, got one")
    if codings:
        if lengths or head.version == b"HTTP/1.0":
            raise Refusal(
                400,
                "expected Transfer-Encoding in HTTP/1.1 and without Content-Length, "
                "got another framing (RFC 9112 section 6.1)",
            )
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise Refusal(
                501,
                "expected Transfer-Encoding: chunked, got "
                f"{quoted(b', '.join(codings))}",
            )
        return None
    if len(lengths) > 1 or not all(map(CONTENT_LENGTH.fullmatch, lengths)):
        raise Refusal(
            400,
            f"expected one Content-Length of digits, got {quoted(b', '.join(lengths))}",
        )
    return int(lengths[0]) if lengths else 0


# Reads the next part of a request, or returns None if it is not whole yet.
Step = Callable[["RequestReader"], bytes | None]


class RequestReader:
    """Cuts the bytes of a connection into checked requests for a server's parser.

    ``untrusted`` names the headers, in lower case, that are removed because only a proxy
    may set them.
    """

    def __init__(
        self, *, max_body_bytes: int, untrusted: Iterable[bytes] = frozenset()
    ) -> None:
        self.buffer = bytearray()  # received and not read yet
        self.max_body_bytes = max_body_bytes  # of one request
        self.untrusted = frozenset(untrusted)  # names of headers that are dropped
        self.head: Head | None = None  # of the current request, or the last one
        self.searched = 0  # leading bytes of the buffer without the end of a head
        self.body_bytes = 0  # of the current request so far, framing included
        self.missing_bytes = 0  # of the current body or chunk
        self.trailer_bytes = 0  # of the current request so far
        # What reads the next part of the current request. A function: a bound method would
        # be a cycle of references, which waits for the garbage collector.
        self.step: Step = RequestReader.read_head

    @property
    def in_body(self) -> bool:
        """True if a body has begun and not ended."""
        return self.step is not RequestReader.read_head

    def read(self) -> bytes:
        """Return the bytes for the parser: a whole head, or part of a body; b"" if none.

        Raises Refusal.
        """
        if not self.in_body:
            return self.read_head() or b""
        pieces = []
        while self.in_body and (piece := self.step(self)) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    def read_head(self) -> bytes | None:
        buffer = self.buffer
        if buffer[:1] in (b"\r", b"\n"):  # old clients end a body with an empty line
            del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]
        end = buffer.find(b"\r\n\r\n", self.searched, MAX_HEAD_BYTES)
        if end < 0:
            self.check_incomplete()
            # The last three bytes may begin the four that end a head.
            self.searched = max(len(buffer) - 3, 0)
            return None
        data = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        self.searched = self.body_bytes = self.trailer_bytes = 0
        self.head = None
        self.head = head = parse_head(data)
        if head.target.partition(b"?")[0].endswith(TAPPED_PATH):
            head.raw = data
        normalize(head, self.untrusted)
        self.start_body(body_length(head))
        return head.encode()

    def check_incomplete(self) -> None:
        """Refuse bytes that cannot become a head, before the rest has arrived."""
        buffer = self.buffer
        if buffer and not TOKEN.match(buffer, 0, 1):
            raise Refusal(400, f"expected an HTTP request, got {quoted(buffer)}")
        if BARE_LINE_FEED.search(buffer, self.searched):
            raise Refusal(400, "expected lines that end with CRLF, got one with LF")
        if len(buffer) >= MAX_HEAD_BYTES:
            if b"\r\n" in buffer[:MAX_HEAD_BYTES]:
                raise Refusal(431, f"expected a head of at most {MAX_HEAD_BYTES} bytes")
            raise Refusal(414, f"expected a URL of less than {MAX_HEAD_BYTES} bytes")

    def start_body(self, length: int | None) -> None:
        if length is None:
            self.step = RequestReader.read_chunk_line
        elif length > self.max_body_bytes:
            raise self.too_large()
        elif length:
            self.missing_bytes = length
            self.step = RequestReader.read_sized

    def too_large(self) -> Refusal:
        return Refusal(
            413, f"expected a body of at most {self.max_body_bytes} bytes, got more"
        )

    def take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def read_sized(self) -> bytes | None:
        if not self.buffer:
            return None
        data = self.take(self.missing_bytes)
        self.missing_bytes -= len(data)
        if not self.missing_bytes:
            self.step = RequestReader.read_head
        return data

    def count_body_bytes(self, size: int) -> None:
        """Add to the body's size. Raises Refusal over the limit.

        Framing counts too, or chunks of one byte would cost without bound.
        """
        self.body_bytes += size
        if self.body_bytes > self.max_body_bytes:
            raise self.too_large()

    def take_line(self, limit: int) -> bytes | None:
        """Return the next line without its end, or None if it is not whole."""
        end = self.buffer.find(b"\r\n", 0, limit)
        if end < 0:
            if len(self.buffer) >= limit:
                raise Refusal(
                    400,
                    f"expected a chunk's line of at most {limit} bytes, got "
                    f"{quoted(self.buffer)}",
                )
            return None
        return self.take(end + 2)[:-2]

    def read_chunk_line(self) -> bytes | None:
        line = self.take_line(MAX_CHUNK_LINE_BYTES)
        if line is None:
            return None
        match = CHUNK_LINE.fullmatch(line)
        if not match:
            raise Refusal(
                400, f"expected a chunk's size in hexadecimal, got {quoted(line)}"
            )
        size = int(match[1], 16)
        self.count_body_bytes(len(line) + size + 4)
        self.missing_bytes = size
        self.step = RequestReader.read_chunk if size else RequestReader.read_trailer
        return b""

    def read_chunk(self) -> bytes | None:
        if not self.missing_bytes:
            return self.end_chunk()
        if not self.buffer:
            return None
        data = self.take(self.missing_bytes)
        self.missing_bytes -= len(data)
        return b"%x\r\n%b\r\n" % (len(data), data)

    def end_chunk(self) -> bytes | None:
        if len(self.buffer) < 2:
            return None
        if self.take(2) != b"\r\n":
            raise Refusal(400, "expected CRLF after a chunk, got more data")
        self.step = RequestReader.read_chunk_line
        return b""

    def read_trailer(self) -> bytes | None:
        line = self.take_line(MAX_TRAILER_BYTES)
        if line is None:
            return None
        self.trailer_bytes += len(line) + 2
        if self.trailer_bytes > MAX_TRAILER_BYTES:
            raise Refusal(
                431, f"expected trailers of at most {MAX_TRAILER_BYTES} bytes"
            )
        if line:
            return b""
        self.step = RequestReader.read_head
        return b"0\r\n\r\n"
