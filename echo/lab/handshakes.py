"""Sends a request for a WebSocket, right or wrong, and says why the server answers as it does."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from echo.lab import loopback
from echo.lab.bounds import LabError, Slots, address_of
from echo.lab.handshake_rules import REQUEST_LINE, broken_rule
from echo.protocol import quoted

MAX_REQUEST_BYTES = 8 * 1024
RUNNING = Slots(10, per_address=3)
# How long the server may take, and how long the whole experiment.
QUIET_SECONDS = 5.0
MAX_SECONDS = 15.0
# Where a request may go: what a proxy keeps from visitors must not be reached past it.
TARGETS = ("/echo", "/feed/ws", "/nowhere")


async def send_request(scope: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Send the setting ``request`` to this server, and return the true answer."""
    lines = read_lines(settings.get("request"))
    request = encode(lines)
    with RUNNING.slot(address_of(scope)):
        async with loopback.connect(scope, MAX_SECONDS) as connection:
            await connection.send(request)
            response = await connection.receive_response(QUIET_SECONDS)
            if response.status == 101:
                await connection.send(loopback.CLOSE_FRAME)
                await connection.receive(QUIET_SECONDS)
    rule = broken_rule(lines, response.status)
    return {
        "status": response.status,
        "head": response.head.decode("latin-1"),
        # What follows a 101 are frames.
        "body": ""
        if response.status == 101
        else response.body.decode(errors="replace"),
        "ending": response.ending,
        "rule": rule
        and {
            "name": rule.name,
            "sections": rule.sections,
            "reason": str(rule.reason),
        },
    }


def read_lines(text: Any) -> list[str]:
    """Return the lines of the head that a visitor has written. Raises LabError.

    It is one head only, and goes to nothing but the WebSocket endpoints.
    """
    if not isinstance(text, str):
        raise LabError(_("request: expected the text of a request"))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
    if "" in lines[:-1]:
        raise LabError(
            _("expected no empty line inside the request: the empty line is its end")
        )
    line = REQUEST_LINE.fullmatch(lines[0])
    if line and line[2].partition("?")[0] not in TARGETS:
        raise LabError(
            _("expected one of the paths %(paths)s, got %(got)s")
            % {"paths": ", ".join(TARGETS), "got": quoted(line[2])}
        )
    return lines


def encode(lines: list[str]) -> bytes:
    """Return the head with the line ends of HTTP. Raises LabError over the bound."""
    request = "\r\n".join([*lines, "", ""]).encode(errors="replace")
    if len(request) > MAX_REQUEST_BYTES:
        raise LabError(
            _("expected a request of at most %(most)s bytes, got %(got)s")
            % {"most": MAX_REQUEST_BYTES, "got": len(request)},
            413,
        )
    return request
