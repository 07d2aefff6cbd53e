"""The output of a run: gorilla's lines, or one JSON object a line."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any, Protocol

from websockets.frames import Close, Opcode

from echo.client.connection import Closure
from echo.client.escaping import escape, escape_bytes, escape_json
from echo.client.frames import WireFrame
from echo.client.sources import Form, Payload, now
from echo.client.trace import Direction, WireBytes, WireItem

WriteLine = Callable[[str], None]
MARKS = {Direction.SENT: "→", Direction.RECEIVED: "←"}


class Output(Protocol):
    """The events of a run, one method for each."""

    def connecting(self, url: str) -> None: ...
    def opened(self, url: str, subprotocol: str | None) -> None: ...
    def sent(self, payload: Payload) -> None: ...
    def received(self, payload: Payload, rtt: float | None) -> None: ...
    def wire(self, direction: Direction, item: WireItem) -> None: ...
    def interrupted(self) -> None: ...
    def closed(self, closure: Closure, by: Direction) -> None: ...
    def reconnecting(self, seconds: float, reason: str) -> None: ...


class PlainOutput:
    """Prints lines; ``rtt`` adds round-trip times, ``timestamps`` the time of each line."""

    def __init__(
        self, write: WriteLine, form: Form, *, rtt: bool, timestamps: bool
    ) -> None:
        self._write = write  # prints a line
        self._form = form  # in which payloads are shown
        self._rtt = rtt  # whether to show round-trip times
        self._timestamps = timestamps  # whether to begin each line with the time

    def connecting(self, url: str) -> None:
        self._line(f"connecting to {escape(url)}")

    def opened(self, url: str, subprotocol: str | None) -> None:
        if subprotocol:
            self._line(f"subprotocol: {escape(subprotocol)}")

    def sent(self, payload: Payload) -> None:
        """Print nothing: as in gorilla's client, only received messages are shown."""

    def received(self, payload: Payload, rtt: float | None) -> None:
        shown = message_text(payload, self._form)
        after = f" ({rtt * 1000:.3f} ms)" if self._rtt and rtt is not None else ""
        self._line(f"recv: {shown}{after}")

    def wire(self, direction: Direction, item: WireItem) -> None:
        for line in wire_lines(item):
            self._line(f"{MARKS[direction]} {line}")

    def interrupted(self) -> None:
        self._line("interrupt")

    def closed(self, closure: Closure, by: Direction) -> None:
        self._line(f"closed: {closure_text(closure)}")

    def reconnecting(self, seconds: float, reason: str) -> None:
        self._line(f"reconnecting in {seconds:.2f} s: {reason.splitlines()[0]}")

    def _line(self, text: str) -> None:
        self._write(f"{now('milliseconds')} {text}" if self._timestamps else text)


class JsonOutput:
    """Prints JSON objects; ``rtt`` is in milliseconds, ``length`` in bytes on the wire."""

    def __init__(self, write: WriteLine) -> None:
        self._write = write  # prints a line

    def connecting(self, url: str) -> None:
        self._event({"type": "connecting", "url": url})

    def opened(self, url: str, subprotocol: str | None) -> None:
        self._event({"type": "open", "url": url, "subprotocol": subprotocol})

    def sent(self, payload: Payload) -> None:
        self._event({"direction": Direction.SENT.value} | message_fields(payload))

    def received(self, payload: Payload, rtt: float | None) -> None:
        milliseconds = None if rtt is None else round(rtt * 1000, 3)
        event = {"direction": Direction.RECEIVED.value} | message_fields(payload)
        self._event(event | {"rtt": milliseconds})

    def wire(self, direction: Direction, item: WireItem) -> None:
        self._event({"direction": direction.value} | wire_fields(item))

    def interrupted(self) -> None:
        self._event({"type": "interrupt"})

    def closed(self, closure: Closure, by: Direction) -> None:
        event = {"direction": by.value, "type": "close", "code": closure.code}
        self._event(event | {"reason": closure.reason, "clean": closure.clean})

    def reconnecting(self, seconds: float, reason: str) -> None:
        event = {"type": "reconnecting", "seconds": round(seconds, 3)}
        self._event(event | {"reason": reason})

    def _event(self, event: dict[str, Any]) -> None:
        line = json.dumps(event | {"time": now("milliseconds")}, ensure_ascii=False)
        self._write(escape_json(line))


def message_text(payload: Payload, form: Form) -> str:
    """Return a message as one line; a binary one in the form that the user writes."""
    if isinstance(payload, str):
        return escape(payload)
    if form is Form.HEX:
        return payload.hex(" ")
    if form is Form.BASE64:
        return base64.b64encode(payload).decode()
    return escape_bytes(payload)


def message_fields(payload: Payload) -> dict[str, Any]:
    """Return a message as JSON: text as ``data``, binary as ``base64``."""
    if isinstance(payload, str):
        return {"type": "text", "data": payload, "length": len(payload.encode())}
    encoded = base64.b64encode(payload).decode()
    return {"type": "binary", "base64": encoded, "length": len(payload)}


def closure_text(closure: Closure) -> str:
    """Return a closure as text: the code, its meaning, and the server's reason."""
    close = Close(closure.code, escape(closure.reason))
    text = str(close).replace(" [internal]", "")
    return f"{text}: {escape(closure.cause)}" if closure.cause else text


def wire_lines(item: WireItem) -> list[str]:
    """Return the lines of a handshake, or a frame's fields and then its bytes."""
    if isinstance(item, WireBytes):
        before = "" if item.what == "handshake" else f"{item.what}: "
        lines = re.findall(rb"[^\n]*\n|[^\n]+", item.data)
        return [before + escape_bytes(line) for line in lines]
    masked = item.masking_key is not None
    key = f" key={item.masking_key.hex()}" if item.masking_key else ""
    lines = [
        f"{opcode_name(item.opcode):<6} FIN={item.fin:d} RSV={item.rsv:03b} "
        f"opcode={item.opcode:#x} MASK={masked:d} length={item.length}{key}"
        f"{close_fields(item)}"
    ]
    lines += hex_rows("header", item.header)
    if masked:
        lines += hex_rows("masked", item.wire_payload)
    lines += hex_rows("payload", item.payload, ascii_column=True)
    if item.length > len(item.wire_payload):
        lines += [f"  … {item.length - len(item.wire_payload)} more bytes"]
    return lines


def hex_rows(label: str, data: bytes, *, ascii_column: bool = False) -> list[str]:
    """Return bytes in rows of sixteen, the first one labelled."""
    rows = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        digits = row.hex(" ")
        if ascii_column:
            shown = "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in row)
            digits = f"{digits:<47}  {shown}"
        rows.append(f"  {label if start == 0 else '':<8}{digits}")
    return rows


def opcode_name(opcode: int) -> str:
    """Return the opcode's name in RFC 6455, or "?" for a reserved one."""
    return Opcode(opcode).name if opcode in set(Opcode) else "?"


def close_fields(frame: WireFrame) -> str:
    """Return a close frame's code and reason as text, or "" if it has none."""
    if frame.opcode != Opcode.CLOSE or len(frame.payload) < 2:
        return ""
    code = int.from_bytes(frame.payload[:2])
    reason = escape_bytes(frame.payload[2:])
    return f" code={code}" + (f" reason={reason}" if reason else "")


def wire_fields(item: WireItem) -> dict[str, Any]:
    """Return a handshake or a frame as JSON; the payload is unmasked, and may be cut."""
    if isinstance(item, WireBytes):
        return {"type": item.what, "data": item.data.decode("latin-1")}
    return {
        "type": "frame",
        "fin": item.fin,
        "rsv": f"{item.rsv:03b}",
        "opcode": item.opcode,
        "mask": item.masking_key is not None,
        "length": item.length,
        "masking_key": item.masking_key.hex() if item.masking_key else None,
        "header": item.header.hex(),
        "payload": item.payload.hex(),
    }
