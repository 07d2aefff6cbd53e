"""Makes both servers faithful: what a WebSocket says goes over the wire as it was said.

Daphne (``manage.py runserver``) gets another WebSocket protocol, built on the sans-I/O
core of ``websockets``, which is uvicorn's core too: one set of rules under both servers.
Daphne's own, on Autobahn, swallows empty messages, close codes and reasons, resets the
connection on errors, refuses with 403 only, and buffers without bound for a client that
does not read (daphne #170). What remains different is listed in docs/deploy.md.
"""

import asyncio
import atexit
import codecs
import logging
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import daphne.server  # first: it installs the reactor that the others import
from daphne.cli import CommandLineInterface
from daphne.http_protocol import WebRequest
from daphne.utils import parse_x_forwarded_for
from django.conf import settings
from twisted.internet import defer, reactor
from twisted.internet.protocol import Protocol
from twisted.web.http import RESPONSES
from websockets.datastructures import Headers
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode, apply_mask
from websockets.http11 import Request, Response
from websockets.protocol import Protocol as WebSocketCore
from websockets.protocol import State
from websockets.server import ServerProtocol

from echo.protocol import CloseCode, reason_phrase

# How long a peer may take to answer a close frame, or to stop sending after one.
CLOSE_TIMEOUT_SECONDS = 10.0
# How long a shutdown waits for HTTP requests that are being answered.
ANSWER_SECONDS = 0.5
# How long a shutdown waits for its close frames to be answered.
SHUTDOWN_SECONDS = 2.0
# A connection whose application has this much still to read is not read from.
MAX_UNREAD_MESSAGES = 64
MAX_UNREAD_BYTES = 64 * 1024

# Twisted's table ends at 2006: it would answer "426 Unknown Status".
for status in HTTPStatus:
    RESPONSES.setdefault(status.value, status.phrase.encode())


OPCODES = {opcode.value: opcode for opcode in Opcode}
# Where the payload starts, after the masking key, by the seven bits of the length.
PAYLOAD_STARTS = {126: 8, 127: 14}
FAILURES: dict[type[Exception], CloseCode] = {
    ProtocolError: CloseCode.PROTOCOL_ERROR,
    UnicodeDecodeError: CloseCode.INVALID_DATA,
    PayloadTooBig: CloseCode.MESSAGE_TOO_BIG,
}


def judge_head(first: int, second: int) -> Opcode:
    """The opcode of a client's frame with these two bytes; ProtocolError for a wrong one."""
    opcode = OPCODES.get(first & 0x0F)
    if opcode is None:
        raise ProtocolError("invalid opcode")
    if first & 0x70:
        raise ProtocolError("reserved bits must be 0")
    if not second & 0x80:
        raise ProtocolError("incorrect masking")
    if opcode >= Opcode.CLOSE:
        if second & 0x7F > 125:
            raise ProtocolError("control frame too long")
        if not first & 0x80:
            raise ProtocolError("fragmented control frame")
    return opcode


def extended_length(field: bytes | bytearray) -> int:
    """The length in its 16 or 64 bits; ProtocolError unless fewer would not do."""
    length = int.from_bytes(field, "big")
    if length < (126 if len(field) == 2 else 65536):
        raise ProtocolError("length not in its shortest form")
    if length >> 63:
        raise ProtocolError("length with its highest bit set")
    return length


class FaithfulFrames(WebSocketCore):
    """Reads and writes a server's frames; one that is wrong fails by its head.

    ``websockets`` takes a length that is not in its shortest form, and waits for the
    payload of a frame that cannot be right. Reading the fields where they lie, in one
    buffer, is faster too: docs/benchmarks.md has the figures.
    """

    def parse(self) -> Generator[None]:
        try:
            while True:
                self.recv_frame((yield from self.read_frame()))
        except tuple(FAILURES) as error:
            self.fail_for(error)
        yield

    def fail_for(self, error: Exception) -> None:
        """Fails the connection with the close code of the error."""
        self.fail(FAILURES[type(error)], str(error))
        self.parser_exc = error

    def read_frame(self) -> Generator[None, None, Frame]:
        """The next frame, unmasked."""
        buffer = self.reader.buffer
        while len(buffer) < 2:
            yield
        opcode = judge_head(buffer[0], buffer[1])
        length = buffer[1] & 0x7F
        start = PAYLOAD_STARTS.get(length, 6)
        while len(buffer) < start:
            yield
        if start > 6:
            length = extended_length(buffer[2 : start - 4])
        if self.max_message_size is not None:
            room = self.max_message_size - (self.current_size or 0)
            if length > room:
                raise PayloadTooBig(length, room, self.current_size)
        end = start + length
        while len(buffer) < end:
            yield
        payload = apply_mask(buffer[start:end], buffer[start - 4 : start])
        fin = buffer[0] > 0x7F
        del buffer[:end]
        return Frame(opcode, payload, fin)

    def send_frame(self, frame: Frame) -> None:
        length = len(frame.data)
        head = frame.opcode | 0x80 * frame.fin
        if length < 126:
            packed = struct.pack("!BB", head, length)
        elif length < 65536:
            packed = struct.pack("!BBH", head, 126, length)
        else:
            packed = struct.pack("!BBQ", head, 127, length)
        self.writes.append(packed + frame.data)


class FaithfulCore(ServerProtocol, FaithfulFrames):
    """The sans-I/O core with three departures from ``websockets``.

    RFC 6455 section 5.4 lets control frames stand inside a fragmented message, so a close
    there is a close, not a protocol error. Text is checked frame by frame, so that invalid
    UTF-8 fails the connection as soon as it is seen (section 8.1). And no extension is
    negotiated: compression costs each connection 64 KB and more, for which an echo of what
    was sent has no use (gorilla's default too).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"extensions": None})
        self.text: codecs.IncrementalDecoder | None = None

    def recv_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            self.current_size = None
        elif opcode is Opcode.CONT and self.text:
            self.text.decode(frame.data, frame.fin)
        elif opcode is Opcode.TEXT and frame.fin:
            frame.data.decode()
        elif opcode is Opcode.TEXT:
            self.text = codecs.getincrementaldecoder("utf-8")()
            self.text.decode(frame.data)
        elif opcode is Opcode.BINARY:
            self.text = None
        super().recv_frame(frame)


class PatientCore(FaithfulCore):
    """Ends a conversation only when the application is done with what came before.

    Otherwise a close or an error that arrives together with messages would overtake their
    echoes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.application_waits = False
        self.held: Frame | Exception | None = None

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CLOSE:
            super().recv_frame(frame)
            if frame.fin and frame.opcode < Opcode.CLOSE:  # a message is whole
                self.application_waits = False
        elif not self.holds(frame):
            super().recv_frame(frame)

    def fail_for(self, error: Exception) -> None:
        if not self.holds(error):
            super().fail_for(error)

    def send_close(self, code: int | None = None, reason: str = "") -> None:
        super().send_close(code, reason)
        self.take_held()

    def holds(self, ending: Frame | Exception) -> bool:
        """Keeps the ending for ``take_held`` while the application is busy."""
        if self.state is not State.OPEN or self.application_waits:
            return False
        self.held = ending
        self.parser = self.ignore()
        next(self.parser)
        return True

    def ignore(self) -> Generator[None]:
        """Whatever follows a close frame is discarded (RFC 6455 section 1.4)."""
        while True:
            self.reader.discard()
            yield

    def take_held(self) -> None:
        """Takes the held close or error as if it had arrived now."""
        ending, self.held = self.held, None
        try:
            if isinstance(ending, Frame):
                super().recv_frame(ending)
            elif ending:
                raise ending
        except tuple(FAILURES) as error:
            super().fail_for(error)


class Drain:
    """What Twisted calls a producer: told when a transport is full, and when it has drained.

    ``writable`` is what an ASGI ``send`` waits for: that is the backpressure.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        self.on_change = on_change

    def pauseProducing(self) -> None:
        self.writable.clear()
        self.on_change()

    def resumeProducing(self) -> None:
        self.writable.set()
        self.on_change()

    stopProducing = resumeProducing


class WebSocketProtocol(Protocol):
    """One WebSocket under Daphne: Twisted's bytes on one side, ASGI's events on the other.

    Backpressure goes both ways: ``send`` waits while the transport's buffer is full, and
    the transport is not read from while the application has enough to read.
    """

    application_type = "websocket"  # Daphne asks for it
    _raw_query_string: bytes  # set by Daphne's WebRequest, which read the request line

    def __init__(self, server: "FaithfulServer") -> None:
        self.server = server
        self.core = PatientCore(max_size=server.websocket_max_message_size or None)
        self.fragments: list[bytes] = []
        self.message_is_text = False
        self.events: deque[dict[str, Any]] = deque()
        self.unread_bytes = 0
        self.arrival: asyncio.Future[None] | None = None
        self.reading_paused = False
        self.drain = Drain(self.regulate_reading)
        self.closed = asyncio.Event()
        self.close_timer: asyncio.TimerHandle | None = None
        self.disconnect_told = False
        self.refusal: Response | None = None
        self.connected_at = self.heard_at = time.monotonic()
        self.pinged_at: float | None = None
        self.details: dict[str, Any] = {"path": "", "client": None}

    # --- Twisted: the transport --------------------------------------------------------

    def connectionMade(self) -> None:
        self.server.protocol_connected(self)
        self.transport.unregisterProducer()  # Twisted's HTTP channel was there before
        self.transport.registerProducer(self.drain, True)
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        if not self.core.reader.eof:
            self.core.receive_data(data)
            self.process()

    def connectionLost(self, reason: Any = None) -> None:
        if self.close_timer:
            self.close_timer.cancel()
        if not self.disconnect_told:
            self.tell_disconnect(1006)
        self.drain.resumeProducing()
        self.closed.set()
        self.server.protocol_disconnected(self)
        self.log("disconnected")

    # --- the sans-I/O core: frames -----------------------------------------------------

    def process(self) -> None:
        """Carries what the core has to say, to the application and to the transport."""
        for event in self.core.events_received():
            if isinstance(event, Request):
                self.handshake(event)
            else:
                self.frame_received(event)
        if self.core.parser_exc is not None and not self.disconnect_told:
            close = self.core.close_sent
            self.tell_disconnect(close.code if close else 1006)
        self.flush()

    def frame_received(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            close = self.core.close_rcvd
            if close and not self.disconnect_told:
                self.tell_disconnect(close.code, close.reason)
        elif frame.opcode is Opcode.PONG:
            self.pinged_at = None
        elif frame.opcode is not Opcode.PING:
            if frame.opcode is not Opcode.CONT:
                self.message_is_text = frame.opcode is Opcode.TEXT
            self.fragments.append(bytes(frame.data))
            if frame.fin:
                self.message_received()

    def message_received(self) -> None:
        payload = b"".join(self.fragments)
        self.fragments.clear()
        if self.disconnect_told:
            return  # the application has closed and reads no more
        self.unread_bytes += len(payload)
        if self.message_is_text:
            self.tell({"type": "websocket.receive", "text": payload.decode()})
        else:
            self.tell({"type": "websocket.receive", "bytes": payload})
        too_much = (
            len(self.events) >= MAX_UNREAD_MESSAGES
            or self.unread_bytes >= MAX_UNREAD_BYTES
        )
        if too_much:
            self.pause_reading()

    def flush(self) -> None:
        """Writes what the core has to send; an empty chunk is the end of the stream."""
        if self.closed.is_set():
            return
        for data in self.core.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.end_writing()

    def end_writing(self) -> None:
        """Half-closes the connection and discards what still arrives.

        Closing both ways at once would answer data on its way here with a TCP reset, which
        can overtake the close frame and hide it from the client.
        """
        self.transport.unregisterProducer()
        self.drain.resumeProducing()
        self.resume_reading()
        self.start_close_timer()
        if hasattr(self.transport, "loseWriteConnection"):
            self.transport.loseWriteConnection()
        else:  # TLS has no half-close
            self.transport.loseConnection()

    def start_close_timer(self) -> None:
        """Gives the peer a while to close, then cuts the connection."""
        if self.close_timer is None:
            loop = asyncio.get_running_loop()
            self.close_timer = loop.call_later(
                CLOSE_TIMEOUT_SECONDS, self.transport.abortConnection
            )

    def regulate_reading(self) -> None:
        """A client that does not take what it is sent is not read from: pings cost too."""
        if not self.drain.writable.is_set():
            self.pause_reading()
        elif self.disconnect_told or not self.events:
            self.resume_reading()

    def pause_reading(self) -> None:
        if not self.reading_paused:
            self.reading_paused = True
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        if self.reading_paused and self.drain.writable.is_set():
            self.reading_paused = False
            self.transport.resumeProducing()

    # --- the handshake -----------------------------------------------------------------

    def handshake(self, request: Request) -> None:
        self.response = self.core.accept(request)
        if self.response.status_code != 101:
            self.core.send_response(self.response)
            return
        scope = self.scope(request)
        self.subprotocols = scope["subprotocols"]
        client = scope["client"]
        self.details = {
            "path": request.path,
            "client": "{}:{}".format(*client) if client else None,
        }
        self.log("connecting")
        self.tell({"type": "websocket.connect"})
        task = self.server.create_application(self, scope)
        task.add_done_callback(self.application_ended)

    def scope(self, request: Request) -> dict[str, Any]:
        """The ASGI connection scope, with Daphne's own header and proxy rules."""
        raw_path = request.path.partition("?")[0].encode("ascii")
        root_path = self.server.root_path
        headers = []
        for name, value in request.headers.raw_items():
            if name.lower() == "daphne-root-path":
                root_path = unquote(value)
            elif "_" not in name:  # CVE-2015-0219
                headers.append((name.lower().encode("ascii"), value.encode("latin-1")))
        client, server = self.addresses()
        secure = self.transport.getHost().type == "TLS" or hasattr(
            self.transport, "getPeerCertificate"
        )
        scheme = "https" if secure else "http"
        if self.server.proxy_forwarded_address_header:
            client, scheme = parse_x_forwarded_for(
                dict(headers),
                self.server.proxy_forwarded_address_header,
                self.server.proxy_forwarded_port_header,
                self.server.proxy_forwarded_proto_header,
                client,
                scheme,
            )
        offers = request.headers.get_all("Sec-WebSocket-Protocol")
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if scheme == "https" else "ws",
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "root_path": root_path,
            "query_string": self._raw_query_string,
            "headers": headers,
            "client": client,
            "server": server,
            "subprotocols": [p.strip() for offer in offers for p in offer.split(",")],
            "extensions": {"websocket.http.response": {}},
        }

    def addresses(self) -> tuple[list[Any] | None, list[Any] | None]:
        """The peer's and the host's address and port; None on a Unix socket."""
        peer, host = self.transport.getPeer(), self.transport.getHost()
        if hasattr(peer, "host") and hasattr(peer, "port"):
            return [str(peer.host), peer.port], [str(host.host), host.port]
        return None, None

    # --- ASGI: the application ---------------------------------------------------------

    def tell(self, event: dict[str, Any]) -> None:
        """Queues an event for the application."""
        self.events.append(event)
        if self.arrival and not self.arrival.done():
            self.arrival.set_result(None)

    def tell_disconnect(self, code: int, reason: str = "") -> None:
        """The last event an application gets."""
        self.disconnect_told = True
        self.tell({"type": "websocket.disconnect", "code": code, "reason": reason})

    async def receive(self) -> dict[str, Any]:
        """ASGI ``receive``; asking for the next event says that the last one is dealt with."""
        while not self.events:
            self.core.application_waits = True
            if self.core.held is not None:
                self.core.take_held()
                self.process()
                continue
            self.arrival = asyncio.get_running_loop().create_future()
            await self.arrival
        event = self.events.popleft()
        if not self.events:
            self.unread_bytes = 0
            self.resume_reading()
        return event

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI ``send``; waits while the client does not read what it was sent."""
        await self.drain.writable.wait()
        if message["type"] == "websocket.send":
            if self.core.state is State.OPEN:
                self.send_message(message)
        elif message["type"] == "websocket.close":
            self.close(message.get("code") or 1000, message.get("reason") or "")
        elif message["type"] == "websocket.accept":
            self.accept(message)
        elif message["type"] == "websocket.http.response.start":
            self.start_refusal(message["status"], message.get("headers", ()))
        elif message["type"] == "websocket.http.response.body":
            self.refuse(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise ValueError(f"expected a websocket message, got {message['type']!r}")

    def send_message(self, message: dict[str, Any]) -> None:
        if (data := message.get("bytes")) is not None:
            self.core.send_binary(data)
        else:
            self.core.send_text(message["text"].encode())
        self.flush()

    def accept(self, message: dict[str, Any]) -> None:
        if self.core.state is not State.CONNECTING or self.disconnect_told:
            return
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            if subprotocol not in self.subprotocols:
                raise ValueError(
                    f"expected a subprotocol that the client offered, {self.subprotocols}, "
                    f"got {subprotocol!r}: accept with one of those or with None"
                )
            self.response.headers["Sec-WebSocket-Protocol"] = subprotocol
        if self.server.server_name:
            self.response.headers["Server"] = self.server.server_name
        for name, value in message.get("headers") or ():
            self.response.headers[name.decode("latin-1")] = value.decode("latin-1")
        self.core.send_response(self.response)
        self.flush()
        self.log("connected")

    def close(self, code: int, reason: str = "") -> None:
        """Starts the closing handshake; before the opening one is over, refuses it."""
        if self.core.state is State.OPEN:
            if not self.disconnect_told:
                self.tell_disconnect(code, reason)
            self.core.send_close(code, reason)
            self.resume_reading()
            self.start_close_timer()
            self.process()
        elif self.core.state is State.CONNECTING and not self.core.eof_sent:
            self.start_refusal(403, ())
            self.refuse(b"", more=False)

    def start_refusal(self, status: int, headers: Any) -> None:
        """Begins the HTTP response that refuses the handshake."""
        response = Response(
            status,
            reason_phrase(status),
            Headers(Date=formatdate(usegmt=True), Connection="close"),
        )
        for name, value in headers:
            key = name.decode("latin-1")
            if key.lower() != "content-length":
                response.headers[key] = value.decode("latin-1")
        self.refusal = response

    def refuse(self, body: bytes, *, more: bool) -> None:
        """Sends the refusal when its body is whole."""
        assert self.refusal is not None
        self.refusal.body = (self.refusal.body or b"") + body
        if more or self.core.state is not State.CONNECTING or self.core.eof_sent:
            return
        self.refusal.headers["Content-Length"] = str(len(self.refusal.body))
        self.core.send_response(self.refusal)
        self.flush()
        self.log("rejected")
        if not self.disconnect_told:
            self.tell_disconnect(1006)

    def application_ended(self, task: asyncio.Future[Any]) -> None:
        """An application that ends with the connection open cuts it; one that fails, 1011.

        Daphne looks for ended applications once a second, and logs their exceptions then.
        """
        if self.closed.is_set():
            return
        if self.core.state is State.OPEN:
            if task.cancelled():
                self.close(CloseCode.SERVICE_RESTART)
            elif task.exception():
                self.close(CloseCode.INTERNAL_ERROR)
            else:
                self.transport.unregisterProducer()
                self.transport.loseConnection()
        elif self.core.state is State.CONNECTING and not self.core.eof_sent:
            self.start_refusal(503 if task.cancelled() else 500, ())
            self.refuse(b"", more=False)

    # --- Daphne: what its server asks of a protocol -------------------------------------

    def handle_exception(self, exception: BaseException) -> None:
        """Daphne has logged it; ``application_ended`` has dealt with it already."""

    def check_timeouts(self) -> None:
        """Daphne calls this every two seconds: lifetime, handshake and keepalive."""
        now, server = time.monotonic(), self.server
        age = now - self.connected_at
        if self.core.state is State.CONNECTING:
            if age > server.websocket_connect_timeout > 0 and not self.core.eof_sent:
                self.close(CloseCode.POLICY_VIOLATION)
        elif self.core.state is State.OPEN:
            if age > server.websocket_timeout >= 0:
                self.close(CloseCode.NORMAL_CLOSURE)
            elif not self.reading_paused:  # a pong could not be seen
                self.keep_alive(now)

    def keep_alive(self, now: float) -> None:
        """Pings a silent client, and closes 1011 on one that does not answer."""
        if self.pinged_at is None:
            if now - self.heard_at > self.server.ping_interval:
                self.pinged_at = now
                self.core.send_ping(os.urandom(4))
                self.flush()
        elif now - self.pinged_at > self.server.ping_timeout:
            self.close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")

    def log(self, action: str) -> None:
        self.server.log_action("websocket", action, self.details)


class WebSocketFactory:
    """Makes the protocols; all that Daphne's HTTP side wants of a factory."""

    def __init__(self, server: "FaithfulServer") -> None:
        self.server = server

    def buildProtocol(self, address: Any) -> WebSocketProtocol:
        return WebSocketProtocol(self.server)


class FaithfulServer(daphne.server.Server):
    """Daphne's server with our WebSocket protocol and an end that is told to the clients."""

    def __init__(self, *args: Any, ready_callable: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, ready_callable=self.ready, **kwargs)
        self.tell_ready = ready_callable
        self.stopped = threading.Event()

    def run(self) -> None:
        # Under the autoreloader this runs in a daemon thread, which would die with its
        # sockets open: the main thread waits for the farewell instead.
        if threading.current_thread() is not threading.main_thread():
            atexit.register(self.stop_and_wait)
        try:
            super().run()
        finally:
            self.stopped.set()

    def ready(self) -> None:
        """Daphne has made its own WebSocket factory and is about to start the reactor."""
        self.ws_factory = WebSocketFactory(self)
        self.http_factory.buildProtocol = self.build_http_protocol
        if self.tell_ready:
            self.tell_ready()

    def build_http_protocol(self, address: Any) -> Any:
        """Daphne's HTTP, with the forms left to Django.

        Twisted would parse each POST's form once more, for nobody, and answer a malformed
        one by itself, with a bare 400.
        """
        protocol = type(self.http_factory).buildProtocol(self.http_factory, address)
        protocol.requestFactory = partial(WebRequest, parsePOSTFormSubmission=False)
        return protocol

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if scope["type"] != "websocket":
            return super().create_application(protocol, scope)
        task = asyncio.ensure_future(
            self.application(scope=scope, receive=protocol.receive, send=protocol.send)
        )
        self.connections[protocol]["application_instance"] = task
        return task

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """ASGI ``send`` of an HTTP response: a stream waits for a client that reads slowly."""
        streams = message.get("more_body", False) and not protocol.finished
        if message["type"] == "http.response.body" and protocol.channel is not None:
            if streams and protocol.producer is None:
                protocol.registerProducer(Drain(), True)
            elif not streams and protocol.producer is not None:
                protocol.unregisterProducer()
        await super().handle_reply(protocol, message)
        if streams and protocol.producer is not None:
            await protocol.producer.writable.wait()

    def kill_all_applications(self) -> defer.Deferred[None]:
        """Daphne's name for the end: applications are cancelled, and clients told 1012."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self.say_farewell()))

    async def say_farewell(self) -> None:
        tasks = {
            protocol: details["application_instance"]
            for protocol, details in self.connections.items()
            if "application_instance" in details
        }
        sockets = [p for p in self.connections if isinstance(p, WebSocketProtocol)]
        answers = [task for protocol, task in tasks.items() if protocol not in sockets]
        for protocol in sockets:
            if protocol in tasks:
                tasks[protocol].cancel()
        if answers:  # a request that is about to be answered is
            await asyncio.wait(answers, timeout=ANSWER_SECONDS)
        for task in answers:
            task.cancel()
        closings = [asyncio.ensure_future(p.closed.wait()) for p in sockets]
        endings = [*tasks.values(), *closings]
        if endings:
            await asyncio.wait(endings, timeout=SHUTDOWN_SECONDS)

    def stop_and_wait(self) -> None:
        """Stops the reactor from another thread, and waits for it."""
        if reactor.running:
            reactor.callFromThread(self.stop)
            self.stopped.wait(SHUTDOWN_SECONDS + 1)


class DaphneCommand(CommandLineInterface):
    """``daphne``'s command line with the faithful server: ``python -m echo.servers``."""

    description = "Daphne, with a faithful WebSocket"
    server_class = FaithfulServer

    def __init__(self) -> None:
        super().__init__()
        self.parser.set_defaults(
            websocket_max_message_size=settings.ECHO_MAX_MESSAGE_BYTES,
            websocket_connect_timeout=20,  # longer than the longest `hang`
        )


class FaithfulMethods:
    """The methods that uvicorn's WebSocket protocol gets in the place of its own."""

    conn: PatientCore
    queue: asyncio.Queue[dict[str, Any]]
    transport: asyncio.Transport
    writable: asyncio.Event
    handle_events: Callable[[], None]
    stock_send: Callable[[Any], Awaitable[None]]
    stock_shutdown: Callable[[], None]
    stock_send_500_response: Callable[[], None]
    stop_keepalive: Callable[[], None]
    handshake_complete: bool
    disconnected: bool
    read_paused: bool
    close_sent: bool
    close_timer: asyncio.TimerHandle | None
    frames: list[bytes]
    curr_msg_data_type: str
    unread_bytes = 0
    failed = False

    async def receive(self) -> dict[str, Any]:
        """Asking for the next event says that the last one is dealt with."""
        queue = self.queue
        if queue.empty():
            self.conn.application_waits = True
            if self.conn.held is not None:
                self.conn.take_held()
                self.handle_ending()
        event = await queue.get()
        if queue.empty():
            self.unread_bytes = 0
            if self.read_paused:
                self.read_paused = False
                self.transport.resume_reading()
        return event

    def send_receive_event_to_app(self) -> None:
        """Queues a message, and reads on while few wait: uvicorn pauses for each one."""
        payload, self.frames = b"".join(self.frames), []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "text":  # the core has seen that it is UTF-8
            self.queue.put_nowait(
                {"type": "websocket.receive", "text": payload.decode()}
            )
        else:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": payload})
        self.unread_bytes += len(payload)
        too_much = (
            self.unread_bytes >= MAX_UNREAD_BYTES
            or self.queue.qsize() >= MAX_UNREAD_MESSAGES
        )
        if too_much and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    async def send(self, message: dict[str, Any]) -> None:
        """Messages go straight to the core; uvicorn's own does the rest."""
        if message["type"] != "websocket.send" or self.conn.state is not State.OPEN:
            if not self.close_sent or self.disconnected:  # else it comes too late
                await self.stock_send(message)
                self.handle_ending()
            return
        if not self.writable.is_set():
            await self.writable.wait()
            if self.conn.state is not State.OPEN:
                return
        if (data := message.get("bytes")) is not None:
            self.conn.send_binary(data)
        else:
            self.conn.send_text(message["text"].encode())
        self.transport.write(b"".join(self.conn.data_to_send()))

    def shutdown(self) -> None:
        """Closes 1012, and waits for the answer, which would else meet a TCP reset."""
        if self.close_sent or not self.handshake_complete:
            self.stock_shutdown()
            return
        self.close_with(CloseCode.SERVICE_RESTART)

    def send_500_response(self) -> None:
        """What uvicorn does for an application that failed; an open connection gets 1011."""
        if self.conn.state is State.OPEN:
            self.close_with(CloseCode.INTERNAL_ERROR)
        else:
            self.stock_send_500_response()

    def close_with(self, code: CloseCode) -> None:
        """Closes, and gives the client a moment to answer."""
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = asyncio.get_running_loop().call_later(
            SHUTDOWN_SECONDS, self.transport.abort
        )
        self.read_paused = False
        self.transport.resume_reading()
        self.handle_ending()

    def handle_ending(self) -> None:
        """What the core had held back and has now taken."""
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
        else:
            self.handle_events()

    def handle_parser_exception(self) -> None:
        """Fails the connection, and then reads on until the client has seen the reason.

        uvicorn closes at once, and data on its way here makes that a TCP reset.
        """
        if self.failed:
            return
        self.failed = True
        if not self.close_sent:
            close = self.conn.close_sent
            code = close.code if close else CloseCode.INTERNAL_ERROR
            self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
            self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        if not self.transport.can_write_eof():  # TLS has no half-close
            self.transport.close()
            return
        self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is None:
            self.close_timer = asyncio.get_running_loop().call_later(
                CLOSE_TIMEOUT_SECONDS, self.transport.abort
            )

    def pause_writing(self) -> None:
        """A client that does not take what it is sent is not read from: pings cost too."""
        self.writable.clear()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable.set()
        if not self.read_paused:
            self.transport.resume_reading()


def make_uvicorn_faithful() -> None:
    """Gives uvicorn's WebSocket protocol the same core, whatever options it started with.

    uvicorn imports the application before it listens, and has no setting for any of this:
    the names that it looks up for each connection are the seam. The contract tests hold it
    against a new version.
    """
    from uvicorn.protocols.websockets import websockets_sansio_impl as uvicorn

    def core(*, max_size: int, **options: Any) -> PatientCore:
        return PatientCore(max_size=settings.ECHO_MAX_MESSAGE_BYTES, **options)

    uvicorn.ServerProtocol = core  # type: ignore[misc, assignment]
    protocol: Any = uvicorn.WebSocketsSansIOProtocol
    for name in ("send", "shutdown", "send_500_response"):
        setattr(protocol, f"stock_{name}", getattr(protocol, name))
    for name, value in vars(FaithfulMethods).items():
        if not name.startswith("__"):
            setattr(protocol, name, value)
    # uvicorn takes a refusal with a status of its own for no answer, and logs an error.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: (
            record.msg != "ASGI callable returned without completing handshake."
        )
    )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsdemo.settings")
    DaphneCommand.entrypoint()
