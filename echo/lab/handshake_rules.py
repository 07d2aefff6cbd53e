"""The rules that a request for a WebSocket has to keep, in the order in which they are checked.

Each names its section and what the server answers. Ready-made mistakes break one rule each.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise
REQUEST_LINE = re.compile(r"([!-~]+) ([!-~]+) HTTP/([0-9]\.[0-9])")
FIELD = re.compile(r"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*")
KEY_BYTES = 16
# The server reads no more than one of these (RFC 6455 sections 11.3.1 and 11.3.5).
SINGLE = ("origin", "sec-websocket-key", "sec-websocket-version")


class Request:
    """A request's head as a visitor has written it, right or wrong."""

    def __init__(self, lines: list[str]) -> None:
        line = REQUEST_LINE.fullmatch(lines[0])
        self.has_request_line = line is not None
        self.method, self.target, self.version = line.groups() if line else ("",) * 3
        fields = [FIELD.fullmatch(line) for line in lines[1:]]
        self.has_fields = all(fields)  # every line after the first is a header
        # Names in lower case.
        self.fields = [(match[1].lower(), match[2]) for match in fields if match]

    def values(self, name: str) -> list[str]:
        """Return all values of a header; ``name`` is in lower case."""
        return [value for key, value in self.fields if key == name]

    def tokens(self, name: str) -> list[str]:
        """Return the elements of a list header, in lower case."""
        parts = ",".join(self.values(name)).split(",")
        return [part.strip().lower() for part in parts]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, with the status that answers a request that breaks it."""

    name: str
    is_kept: Callable[[Request], bool]
    status: int
    sections: tuple[str, ...]  # each the number of an RFC and of a section of it
    reason: Text  # why the rule is there, and what the server answers


def has_key(request: Request) -> bool:
    try:
        key = base64.b64decode(
            "".join(request.values("sec-websocket-key")), validate=True
        )
    except (binascii.Error, ValueError):
        return False
    return len(key) == KEY_BYTES


def has_own_origin(request: Request) -> bool:
    """Return True if there is no Origin, or one with the Host of the request."""
    hosts = request.values("host")
    own = [[f"{scheme}://{host}"] for scheme in ("http", "https") for host in hosts]
    return request.values("origin") in ([], *own)


RULES = (
    Rule(
        "request-line",
        lambda request: request.has_request_line,
        400,
        ("9112 3",),
        _("A request begins with a method, a target and a version, one space apart."),
    ),
    Rule(
        "http-major",
        lambda request: request.version.startswith("1."),
        505,
        ("9110 15.6.6",),
        _(
            "The handshake is in HTTP/1.1. HTTP/2 has frames of its own and opens "
            "WebSockets in another way (RFC 8441)."
        ),
    ),
    Rule(
        "fields",
        lambda request: request.has_fields,
        400,
        ("9112 5",),
        _(
            "A header is a name, a colon and a value. With a space before the colon two "
            "servers could read different names, so it is refused."
        ),
    ),
    Rule(
        "host",
        lambda request: len(request.values("host")) == 1 or request.version == "1.0",
        400,
        ("9112 3.2",),
        _("HTTP/1.1 has exactly one Host: many sites may share one address."),
    ),
    Rule(
        "upgrade",
        lambda request: "websocket" in request.tokens("upgrade"),
        426,
        ("6455 4.2.1", "9110 15.5.22"),
        _(
            "Without Upgrade: websocket this is a plain HTTP request. 426 asks for the "
            "upgrade."
        ),
    ),
    Rule(
        "method",
        lambda request: request.method == "GET",
        405,
        ("6455 4.2.1",),
        _("The method must be GET. 405 means that this one is not allowed here."),
    ),
    Rule(
        "http-1.1",
        lambda request: request.version != "1.0",
        400,
        ("6455 4.2.1",),
        _("HTTP/1.0 has no upgrade: the version must be 1.1 or higher."),
    ),
    Rule(
        "connection",
        lambda request: "upgrade" in request.tokens("connection"),
        400,
        ("6455 4.2.1", "9110 7.6.1"),
        _(
            "Connection: Upgrade marks Upgrade as meant for the next server only. A proxy "
            "that knows no WebSocket removes both."
        ),
    ),
    Rule(
        "once",
        lambda request: all(len(request.values(name)) < 2 for name in SINGLE),
        400,
        ("6455 11.3",),
        _("Twice, and two readers could take different ones: it must be there once."),
    ),
    Rule(
        "version",
        lambda request: request.values("sec-websocket-version") == ["13"],
        426,
        ("6455 4.2.2", "6455 4.4"),
        _(
            "The version of RFC 6455 is 13. The answer names the one that the server knows."
        ),
    ),
    Rule(
        "key",
        has_key,
        400,
        ("6455 4.2.1",),
        _(
            "The key is 16 random bytes in Base64. Its answer proves that the server has "
            "read this very handshake."
        ),
    ),
    Rule(
        "origin",
        has_own_origin,
        403,
        ("6455 4.2.2", "6455 10.2"),
        _(
            "A browser names the page's origin, and no page can change it. Another site's "
            "page could use your cookies here, so it is refused."
        ),
    ),
    Rule(
        "path",
        lambda request: request.target.partition("?")[0] != "/nowhere",
        404,
        ("6455 4.2.2",),
        _("No WebSocket is served at this path."),
    ),
)
# It depends on the setting ALLOWED_HOSTS, so no request shows it by itself.
ALLOWED_HOST = Rule(
    "allowed-host",
    lambda request: True,
    400,
    ("9110 7.4",),
    _(
        "The Host is none of this site's names. Answering under any name would give a "
        "stranger's domain that points here the rights of this site."
    ),
)


def broken_rule(lines: list[str], status: int) -> Rule | None:
    """Return the rule that explains the answer to a request; None if there is none."""
    request = Request(lines)
    broken = next((rule for rule in RULES if not rule.is_kept(request)), None)
    if broken is not None and broken.status == status:
        return broken
    early = broken is None or broken.name in ("origin", "path")
    return ALLOWED_HOST if early and status == ALLOWED_HOST.status else None


# The request that keeps all rules, as a browser would send it but for its own headers. The
# page fills in the names in braces.
VALID = (
    "GET /echo HTTP/1.1",
    "Host: {host}",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Origin: {origin}",
    "Sec-WebSocket-Key: {key}",
    "Sec-WebSocket-Version: 13",
)


@dataclass(frozen=True, slots=True)
class Example:
    """A ready-made request: the valid one with a line changed."""

    name: str
    label: Text
    line: str  # the beginning of the line that is changed
    becomes: tuple[str, ...]  # what it is replaced by
    status: int  # of the answer
    rule: str  # the rule that explains it; none if it is accepted

    @property
    def request(self) -> str:
        """The text of the request."""
        lines: list[str] = []
        for line in VALID:
            lines += self.becomes if line.startswith(self.line) else (line,)
        return "\n".join(lines)


def example(
    name: str,
    label: Text,
    line: str,
    *becomes: str,
    answer: tuple[int, str] = (101, ""),
) -> Example:
    return Example(name, label, line, becomes, *answer)


EXAMPLES = (
    example("valid", _("Nothing: a valid request"), "GET", "GET /echo HTTP/1.1"),
    example("no-upgrade", _("No Upgrade"), "Upgrade", answer=(426, "upgrade")),
    example(
        "no-connection", _("No Connection"), "Connection", answer=(400, "connection")
    ),
    example(
        "old-version",
        _("Another version: 8"),
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Version: 8",
        answer=(426, "version"),
    ),
    example(
        "no-version", _("No version"), "Sec-WebSocket-Version", answer=(426, "version")
    ),
    example(
        "short-key",
        _("A key of 5 bytes"),
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Key: c2hvcnQ=",
        answer=(400, "key"),
    ),
    example("no-key", _("No key"), "Sec-WebSocket-Key", answer=(400, "key")),
    example(
        "two-keys",
        _("Two keys"),
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        answer=(400, "once"),
    ),
    example(
        "other-origin",
        _("Another site's origin"),
        "Origin",
        "Origin: https://other.example",
        answer=(403, "origin"),
    ),
    example(
        "other-host",
        _("Another site's host"),
        "Host",
        "Host: other.example",
        answer=(400, "allowed-host"),
    ),
    example("no-host", _("No Host"), "Host", answer=(400, "host")),
    example(
        "two-hosts",
        _("Two Hosts"),
        "Host",
        "Host: {host}",
        "Host: other.example",
        answer=(400, "host"),
    ),
    example(
        "post",
        _("POST instead of GET"),
        "GET",
        "POST /echo HTTP/1.1",
        answer=(405, "method"),
    ),
    example(
        "http-1.0", "HTTP/1.0", "GET", "GET /echo HTTP/1.0", answer=(400, "http-1.1")
    ),
    example(
        "http-2", "HTTP/2.0", "GET", "GET /echo HTTP/2.0", answer=(505, "http-major")
    ),
    example(
        "no-target", _("No path"), "GET", "GET HTTP/1.1", answer=(400, "request-line")
    ),
    example(
        "unknown-path",
        _("A path without a WebSocket"),
        "GET",
        "GET /nowhere HTTP/1.1",
        answer=(404, "path"),
    ),
    example(
        "space",
        _("A space before a colon"),
        "Upgrade",
        "Upgrade : websocket",
        answer=(400, "fields"),
    ),
    example("no-origin", _("No Origin: no browser, and accepted"), "Origin"),
    example(
        "other-case",
        _("Other case: accepted"),
        "Upgrade",
        "uPGRADE: WebSocket",
    ),
)
