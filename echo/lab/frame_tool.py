"""Builds, reads and sends frames for a visitor; the answer is the server's own, to itself."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings as site
from django.utils.translation import gettext as _

from echo.lab import loopback
from echo.lab.bounds import LabError, Slots, address_of, one_of
from echo.lab.examples import EXAMPLES, bytes_of
from echo.lab.frames import (
    CLOSE,
    MAX_BYTES,
    PING,
    SENDERS,
    FrameReader,
    decode,
    encode,
    hex_bytes,
    spec_from,
)
from echo.protocol import quoted

SENDING = Slots(10, per_address=3)
# How long the whole experiment may take, and how long the server may send nothing.
MAX_SECONDS = 10.0
QUIET_SECONDS = 3.0
# How long to look for more than the answer that was expected.
AFTER_SECONDS = 0.1


def build_frame(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the frame that is set, read again."""
    return read(encode(spec_from(settings)), settings)


def read_frames(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the frames in the setting ``hex``, or those of an example."""
    return read(given_bytes(settings), settings)


def read(data: bytes, settings: Mapping[str, Any]) -> dict[str, Any]:
    sender = one_of(settings, "sender", SENDERS, "client")
    limit = site.ECHO_MAX_MESSAGE_BYTES if sender == "client" else None
    return decode(data, sender, limit)


def given_bytes(settings: Mapping[str, Any]) -> bytes:
    if "example" not in settings:
        return hex_bytes(settings, "hex", MAX_BYTES)
    name = settings["example"]
    if not isinstance(name, str) or name not in EXAMPLES:
        raise LabError(
            _("example: expected one of the list, got %(got)s") % {"got": quoted(name)}
        )
    return bytes_of(EXAMPLES[name])


async def send_frames(scope: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Send the bytes to this server's echo after a handshake; return the true answer."""
    data = hex_bytes(settings, "hex", MAX_BYTES)
    sent = decode(data, "client", site.ECHO_MAX_MESSAGE_BYTES)
    awaited = None if sent["end"] else len(list(filter(is_answered, sent["frames"])))
    with SENDING.slot(address_of(scope)):
        async with loopback.connect(scope, MAX_SECONDS) as connection:
            response = await loopback.open_websocket(connection)
            await connection.send(data)
            received, ending = await answer(connection, response.body, awaited)
    return {
        "sent": sent,
        "answer": decode(received, "server"),
        # "closed" and "reset" are of TCP; "open" means that the server waits for more.
        "ending": ending,
    }


def is_answered(frame: Mapping[str, Any]) -> bool:
    """Return True for a ping, and for the last frame of a message."""
    if frame["missing"] or frame["opcode"] > PING or frame["opcode"] == CLOSE:
        return False
    return bool(frame["fin"])


async def answer(
    connection: loopback.Connection, begun: bytes, awaited: int | None
) -> tuple[bytes, str]:
    """Return the server's bytes, and how they end.

    ``awaited`` is the number of frames that are expected; None for the end of the stream.
    """

    def is_complete(data: bytearray) -> bool:
        return awaited is not None and count_frames(begun + data) >= awaited

    received = await connection.receive_until(is_complete, QUIET_SECONDS)
    data = begun + received.data
    if received.ending == "complete":
        received = await connection.receive(AFTER_SECONDS)
        data += received.data
    return data, received.ending if received.ending in ("closed", "reset") else "open"


def count_frames(data: bytes) -> int:
    return len(FrameReader("server").feed(data))
