"""The names and numbers on the wire, for servers, pages and clients; imports no Django.

Sources: RFC 6455 and the IANA WebSocket close code registry.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus
from typing import Self
from urllib.parse import parse_qs


class CloseCode(IntEnum):
    """The close codes this site sends by itself (RFC 6455 section 7.4)."""

    NORMAL_CLOSURE = 1000
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    # The feed's own. 4000-4499 mean "reconnect", 4500-4999 "do not".
    SHUTDOWN = 4001
    ASKED_TO_RECONNECT = 4011
    BAD_REQUEST = 4501
    DISCONNECTED_BY_OPERATOR = 4503
    NOT_ALLOWED = 4507


# The codes that a close frame may carry (RFC 6455 section 7.4.2). 1004, 1005, 1006 and
# 1015 never go over the wire; 1016-2999 are reserved for the standard itself.
SENDABLE_CLOSE_CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))
# A control frame's payload is at most 125 bytes, two of which are the code (section 5.5).
MAX_CLOSE_REASON_BYTES = 123
# The key, in an ASGI scope's extensions, of the function that cuts the connection at once.
CUT_EXTENSION = "echo.cut"
# The key, in an ASGI scope's extensions, of a function that writes bytes to the client at
# once: whole frames of a WebSocket, or the next part of an HTTP response's body. It takes
# bytes, and returns False, with nothing written, unless the connection is open and has room
# in its buffer. An application may call it while it is not in the middle of a `send`. It goes
# past whatever wraps `send`: a middleware that changes what is sent must remove it.
WRITE_EXTENSION = "echo.write"
# The key, in the extensions of a request's ASGI scope, of a coroutine function that serves a
# connected TCP socket as if a client had opened it, and closes it in the end. What comes over
# it is not trusted as a proxy: PROXY_HEADERS are dropped.
ADOPT_EXTENSION = "echo.adopt"
# The path of the one WebSocket that offers TAP_EXTENSION.
TAP_PATH = "/protocol/ws"
# The key, in an ASGI scope's extensions, of a function that taps the connection: it takes a
# TapSink, and returns a function that ends the tap. Called before the handshake is answered,
# it reports the request's head first, with secrets redacted, then every byte as it comes. A
# head is a chunk by itself; all else is in whatever pieces the bytes were written or read.
TAP_EXTENSION = "echo.tap"
# Takes "client" or "server", which has sent the bytes, the bytes, and the monotonic time.
TapSink = Callable[[str, bytes, float], None]
# The headers that only a proxy may set; in lower case.
PROXY_HEADERS = frozenset(
    {
        b"daphne-root-path",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
# Never shown, not even to the visitor who sent them: pages get shared.
REDACTED_HEADERS = frozenset({"cookie", "authorization", "proxy-authorization"})


def is_sendable_close_code(code: int) -> bool:
    """Return True for 1000-1003, 1007-1014 and 3000-4999."""
    return any(code in codes for codes in SENDABLE_CLOSE_CODES)


def reason_phrase(status: int) -> str:
    """Return the status's registered phrase, or "" if it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def error_body(status: int, detail: str) -> dict[str, int | str]:
    """Return the JSON object of an error, the same on the whole site."""
    return {"status_code": status, "error": reason_phrase(status), "detail": detail}


def redacted(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers as a dict: Title-Case names, repeated ones joined, secrets replaced."""
    shown: dict[str, str] = {}
    for name, value in headers:
        key = name.title()
        value = "[redacted]" if name.lower() in REDACTED_HEADERS else value
        shown[key] = f"{shown[key]}, {value}" if key in shown else value
    return shown


# --- the feed --------------------------------------------------------------------------

EPOCH_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EPOCH_LENGTH = 8
MAX_TOPIC_LENGTH = 90
MAX_TOPICS = 32
DEFAULT_TOPIC = "news"
MAX_DATA_BYTES = 64 * 1024
MAX_KEY_LENGTH = 200
MAX_PUBLISHED_AT_ONCE = 100
MAX_WAIT_SECONDS = 30
# How much of a wrong value an error quotes.
MAX_QUOTED_CHARACTERS = 60

TOPIC = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
EVENT_ID = re.compile(rf"([0-9A-Za-z]{{{EPOCH_LENGTH}}})-(0|[1-9][0-9]{{0,17}})")


# The refusal while the log cannot be reached, and after how long to try again.
LOG_UNREACHABLE = "the log cannot be reached: try again a little later"
LOG_RETRY_SECONDS = 2


class FeedError(ValueError):
    """A request to the feed that is refused; says expected, got, and remedy."""

    status = 400
    retry_after_seconds: int | None = None  # None: the same request fails again


class TooLarge(FeedError):
    """A request with more data or events than the limit."""

    status = 413


class TooMany(FeedError):
    """A request over a limit on connections or on the rate of publishing."""

    status = 429
    retry_after_seconds = 1


class Unauthorized(FeedError):
    """A publisher without a valid token or session."""

    status = 401


class NotAllowed(FeedError):
    """A topic that this reader may not read, or this publisher not publish to."""

    status = 403


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """An event's id, ``<epoch>-<number>``: the life of the log, and the place in it."""

    epoch: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id in a text. Raises FeedError."""
        match = EVENT_ID.fullmatch(text)
        if not match:
            raise FeedError(
                f"since: expected now, earliest or an event's id, got {text[:60]!r}"
            )
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}"


def quoted(value: object) -> str:
    """Return a value as an error quotes it: text escaped and cut, else the type's name.

    Other values are not printed: ``repr`` raises for deep lists and for long numbers.
    """
    if isinstance(value, str):
        return repr(value[:MAX_QUOTED_CHARACTERS])
    return "none" if value is None else f"a value of type {type(value).__name__}"


def is_utf8(text: str) -> bool:
    """Return True unless the text has half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_topic(topic: str) -> str:
    """Return the topic. Raises FeedError unless it is words joined with dots."""
    if (
        not isinstance(topic, str)
        or len(topic) > MAX_TOPIC_LENGTH
        or not TOPIC.fullmatch(topic)
    ):
        raise FeedError(
            f"topic: expected words of A-Z a-z 0-9 _ - joined with dots, at most "
            f"{MAX_TOPIC_LENGTH} characters, got {quoted(topic)}"
        )
    return topic


def check_pattern(pattern: str) -> str:
    """Return the pattern: a topic, a prefix with ``.*``, or ``*``. Raises FeedError."""
    if pattern != "*":
        check_topic(pattern.removesuffix(".*"))
    return pattern


def matches(pattern: str, topic: str) -> bool:
    """Return True if the pattern is the topic, a prefix of it with ``.*``, or ``*``."""
    if pattern.endswith(".*"):
        return topic.startswith(pattern[:-1])
    return pattern in ("*", topic)


def parse_topics(patterns: list[str]) -> tuple[str, ...]:
    """Return the patterns without repetition; ``news`` for none. Raises FeedError."""
    if len(patterns) > MAX_TOPICS:
        raise FeedError(f"topic: expected at most {MAX_TOPICS}, got {len(patterns)}")
    return tuple(dict.fromkeys(map(check_pattern, patterns))) or (DEFAULT_TOPIC,)


def parse_wait(text: str | None) -> float | None:
    """Return how long a long poll waits, 0 to 30 s; None for a short poll."""
    if not text:
        return None
    if (
        not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", text)
        or float(text) > MAX_WAIT_SECONDS
    ):
        raise FeedError(
            f"wait: expected seconds from 0 to {MAX_WAIT_SECONDS}, got {text[:20]!r}"
        )
    return float(text)


@dataclass(frozen=True, slots=True)
class FeedQuery:
    """A reader's parameters, the same on every transport."""

    topics: tuple[str, ...]  # patterns, at least one
    since: str  # an id, `now` or `earliest`
    wait_seconds: float | None = None  # of a long poll

    @classmethod
    def parse(
        cls,
        query_string: str,
        *,
        resume_from: str | None = None,
        if_silent: str | None = None,
    ) -> Self:
        """Parse a query string. Raises FeedError.

        ``resume_from``, from a header, takes precedence over ``since``; ``if_silent`` is
        used only without one.
        """
        try:
            given = parse_qs(query_string, keep_blank_values=True, max_num_fields=100)
        except ValueError:
            raise FeedError("expected at most 100 parameters") from None
        for name in ("since", "wait"):
            if len(given.get(name, ())) > 1:
                raise FeedError(f"{name} is given twice: give it once")
        since = resume_from or given.get("since", [""])[0] or if_silent or "now"
        if since not in ("now", "earliest"):
            EventId.parse(since)
        wait = parse_wait(given.get("wait", [None])[0])
        return cls(parse_topics(given.get("topic", [])), since, wait)
