"""The options of a run: one dataclass, and the parsers of its values.

An invalid value raises ArgumentTypeError, which says expected and got; argparse puts the
option's name in front and exits with 2.
"""

import re
from argparse import ArgumentTypeError
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit, urlunsplit

from websockets.exceptions import InvalidURI
from websockets.headers import build_host
from websockets.uri import WebSocketURI, parse_uri

from echo import durations
from echo.protocol import MAX_CLOSE_REASON_BYTES, is_sendable_close_code, is_utf8

# Where `manage.py runserver` listens; gorilla's default is localhost:8080.
DEFAULT_ADDRESS = "localhost:8000"
# Longer than the longest delay of /echo.
DEFAULT_TIMEOUT_SECONDS = 30.0
CLOCK_INTERVAL_SECONDS = 1.0

# How much of a value an error quotes.
SHOWN_CHARACTERS = 60

SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
# RFC 3986: the characters that are not quoted in a path or a query. With `%`, because the
# text may be quoted already.
URL_CHARACTERS = "%:/?#[]@!$&'()*+,;=~"
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# RFC 9110 section 5.6.2: header names and subprotocols are tokens.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Section 5.5: visible characters, spaces and tabs, as ISO 8859-1.
HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run's settings; durations in seconds, and ``None`` if not given."""

    uri: WebSocketURI
    headers: tuple[tuple[str, str], ...] = ()
    origin: str | None = None
    subprotocols: tuple[str, ...] = ()
    insecure: bool = False
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    delay: float = 0.0  # before the first message
    interval: float = 0.0  # between two messages
    wait: float | None = None  # after the last message; None: until all is answered
    reconnect: bool = False
    close_code: int = 1000
    close_reason: str = ""
    trace: bool = False

    @property
    def url(self) -> str:
        """The address as shown: without a user's name and password."""
        uri = self.uri
        scheme = "wss" if uri.secure else "ws"
        host = build_host(uri.host, uri.port, uri.secure)
        return f"{scheme}://{host}{uri.resource_name}"


def parse_url(text: str) -> WebSocketURI:
    """Return the address in a ws, wss, http or https URL, or in host:port/path.

    Spaces and non-ASCII characters are quoted.
    """
    try:
        parts = urlsplit(text if "://" in text else f"ws://{text}")
        scheme = SCHEMES[parts.scheme]
        path, query = (
            quote(part, URL_CHARACTERS) for part in (parts.path, parts.query)
        )
        uri = parse_uri(urlunsplit((scheme, parts.netloc, path, query, parts.fragment)))
        uri.host.encode("idna")  # raises now instead of in the resolver
        # For a host that is not ASCII, parse_uri quotes the rest once more.
        return replace(uri, path=path, query=query)
    except KeyError:
        problem = f"the scheme {cut(parts.scheme)}"
    except InvalidURI as error:
        problem = f"{cut(text)}: {error.msg}"
    except ValueError as error:  # an invalid port or host
        problem = f"{cut(text)}: {cut(str(error))}"
    raise ArgumentTypeError(
        "expected a ws://, wss://, http:// or https:// URL or host:port/path, "
        f"got {problem}"
    )


def parse_duration(text: str) -> float:
    """Return seconds, from Go style (``250ms``, ``1m30s``) or plain seconds."""
    seconds = durations.parse_duration(text, UNIT_SECONDS)
    if seconds is None:
        raise ArgumentTypeError(
            "expected a duration such as 250ms, 1.5s, 1m30s or 2"
            f"{durations.remedy(text)}, got {cut(text)}"
        )
    return seconds


def parse_positive_duration(text: str) -> float:
    """Return a duration above 0."""
    if seconds := parse_duration(text):
        return seconds
    raise ArgumentTypeError(f"expected a duration of more than 0 s, got {cut(text)}")


def parse_count(text: str) -> int:
    """Return a whole number from 1."""
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) == 0:
        raise ArgumentTypeError(f"expected a whole number from 1, got {cut(text)}")
    return int(text)


def parse_header(text: str) -> tuple[str, str]:
    """Return a header's name and value, from ``Name: value``."""
    name, colon, value = text.partition(":")
    value = value.strip()
    if not colon or not TOKEN.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
        raise ArgumentTypeError(f"expected 'Name: value' on one line, got {cut(text)}")
    return name, value


def parse_origin(text: str) -> str:
    """Return an Origin header's value."""
    return parse_header(f"Origin: {text}")[1]


def parse_subprotocol(text: str) -> str:
    """Return a subprotocol's name."""
    if not TOKEN.fullmatch(text):
        raise ArgumentTypeError(
            "expected a subprotocol name of letters, digits and !#$%&'*+.^_`|~-, got "
            f"{cut(text)}; repeat the option to offer several"
        )
    return text


def parse_close_code(text: str) -> int:
    """Return a close code that a close frame may carry."""
    if not re.fullmatch("[0-9]{4}", text) or not is_sendable_close_code(int(text)):
        raise ArgumentTypeError(
            f"expected a code from 1000-1003, 1007-1014 or 3000-4999, got {cut(text)}"
        )
    return int(text)


def parse_close_reason(text: str) -> str:
    """Return a reason that fits in a close frame."""
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_CLOSE_REASON_BYTES or not text.isascii() and not is_utf8(text):
        raise ArgumentTypeError(
            f"expected at most {MAX_CLOSE_REASON_BYTES} bytes of UTF-8, got {size} bytes"
        )
    return text


def cut(text: str) -> str:
    """Return a value as an error quotes it: escaped and cut."""
    return repr(
        text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
    )
