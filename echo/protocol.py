"""The words on the wire, shared by the servers, the pages and the clients; knows no Django.

Sources: RFC 6455 and the IANA WebSocket close code registry.
"""

from collections.abc import Iterable
from enum import IntEnum
from http import HTTPStatus


class CloseCode(IntEnum):
    """The close codes this site sends by itself (RFC 6455 section 7.4)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012


# The codes that a close frame may carry (RFC 6455 section 7.4.2). 1004, 1005, 1006 and
# 1015 never go over the wire; 1016-2999 are reserved for the standard itself.
SENDABLE_CLOSE_CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))
# A control frame's payload is at most 125 bytes, two of which are the code (section 5.5).
MAX_CLOSE_REASON_BYTES = 123
# Shown to nobody, not even to the visitor who sent them: pages get shared.
REDACTED_HEADERS = frozenset({"cookie", "authorization", "proxy-authorization"})


def is_sendable_close_code(code: int) -> bool:
    """True for 1000-1003, 1007-1014 and 3000-4999."""
    return any(code in codes for codes in SENDABLE_CLOSE_CODES)


def reason_phrase(status: int) -> str:
    """The status's registered phrase, or "" for a status that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def error_body(status: int, detail: str) -> dict[str, int | str]:
    """The JSON that every error of this site is: status_code, error and detail."""
    return {"status_code": status, "error": reason_phrase(status), "detail": detail}


def redacted(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers as JSON: Title-Case names, repeated ones joined, secrets replaced."""
    shown: dict[str, str] = {}
    for name, value in headers:
        key = name.title()
        value = "[redacted]" if name.lower() in REDACTED_HEADERS else value
        shown[key] = f"{shown[key]}, {value}" if key in shown else value
    return shown
