"""Daphne with another WebSocket protocol, backpressure, and an orderly shutdown."""

import asyncio
import atexit
import os
import re
import socket
import threading
import time
from collections.abc import Callable
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
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Server as TcpServer
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import RESPONSES
from twisted.web.http import Request as HttpRequest
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from zope.interface import implementer  # type: ignore[import-untyped]

from echo.protocol import (
    ADOPT_EXTENSION,
    CUT_EXTENSION,
    PROXY_HEADERS,
    WRITE_EXTENSION,
    CloseCode,
    reason_phrase,
)
from echo.servers.channel import ROOT_PATH_HEADER, GuardedChannel
from echo.servers.core import (
    ABNORMAL_CLOSURE,
    CLOSE_TIMEOUT_SECONDS,
    MAX_UNREAD_BYTES,
    MAX_UNREAD_MESSAGES,
    SHUTDOWN_SECONDS,
    DeferringCore,
    encode_frame,
    scope_of,
)
from echo.servers.events import EventQueue
from echo.servers.garbage import exempt_modules
from echo.servers.heads import Head
from echo.servers.stalled import SWEEP_SECONDS, Backlog, StallDetector
from echo.servers.tap import offer_tap

# Connections that wait in the kernel until they are accepted, as many as under uvicorn; the
# kernel's own limit is somaxconn. Twisted's default of 50 is soon full: a client that is
# turned away tries again a second later.
BACKLOG = 2048
# The arguments of Twisted's endpoints, by kind, up to and with the backlog.
BACKLOG_POSITIONS = {"tcp": 3, "unix": 3, "ssl": 6}
# How long a shutdown waits for HTTP responses that are under way.
RESPONSE_SECONDS = 0.5

# Twisted's table is from 2006: it would answer "426 Unknown Status".
for status in HTTPStatus:
    RESPONSES.setdefault(status.value, status.phrase.encode())


class Drain:
    """The backpressure of a Twisted transport, which calls it as its producer.

    An ASGI ``send`` waits for ``writable``.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.writable = asyncio.Event()  # set while the transport's buffer has room
        self.writable.set()
        self.on_change = on_change  # called after every change of `writable`

    def pauseProducing(self) -> None:
        """Mark the transport's buffer as full."""
        self.writable.clear()
        self.on_change()

    def resumeProducing(self) -> None:
        """Mark the transport's buffer as drained."""
        self.writable.set()
        self.on_change()

    stopProducing = resumeProducing


@implementer(IHalfCloseableProtocol)
class WebSocketProtocol(Protocol):
    """One WebSocket under Daphne: Twisted's bytes on one side, ASGI's events on the other.

    Backpressure goes both ways: ``send`` waits while the transport's buffer is full, and
    reading pauses while the application has enough unread messages.
    """

    application_type = "websocket"  # Daphne reads it
    subprotocols: list[str]  # offered by the client; from `open` on

    def __init__(self, server: "FaithfulServer") -> None:
        self.server = server  # has the settings, and the application
        # The WebSocket protocol, without I/O.
        self.core = DeferringCore(max_size=server.websocket_max_message_size or None)
        self.queue = EventQueue()  # events for the application
        self.unread_bytes = 0  # of the messages in `queue`
        self.reading_paused = False  # the transport's reading is paused
        self.turn_scheduled = False  # `take_turn` will run in the loop's next iteration
        # What `send` waits for while the transport's buffer is full.
        self.drain = Drain(self.regulate_reading)
        self.has_ended = False  # the TCP connection
        # Done when it has ended; None unless a shutdown waits for it.
        self.end: asyncio.Future[None] | None = None
        # Cuts the connection if the client does not end it after the closing handshake.
        self.close_timer: asyncio.TimerHandle | None = None
        # The application's last event is in `queue`, or has been read.
        self.disconnect_queued = False
        self.refusal: Response | None = None  # the response that refuses the handshake
        self.opened_at = time.monotonic()
        self.last_received_at = self.opened_at  # of any bytes from the client
        self.ping_sent_at: float | None = None  # of the ping that has no pong yet
        self.resumed_at = self.opened_at  # when reading went on after its last pause
        # For the server's access log.
        self.log_details: dict[str, Any] = {"path": "", "client": None}

    # --- Twisted: the transport --------------------------------------------------------

    def connectionMade(self) -> None:
        self.server.protocol_connected(self)
        # The transport allows one producer, and still has Twisted's HTTP channel.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self.drain, True)
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.last_received_at = time.monotonic()
        if (message := self.core.read_alone(data)) is not None:
            self.message_received(message, len(data))
            return
        if not self.core.reader.eof:
            self.core.receive_data(data)
            self.process()
            if self.core.turn_over:
                # More bytes would only make the buffer longer.
                self.pause_reading()
                self.regulate_reading()
        # Frames before the handshake's response wait in the core's buffer: bound it.
        is_early = self.core.state is State.CONNECTING and not self.core.eof_sent
        if is_early and len(self.core.reader.buffer) >= MAX_UNREAD_BYTES:
            self.pause_reading()

    def readConnectionLost(self) -> None:
        """Answer what came before a half-close, and then end the connection."""
        if self.core.eof_sent:
            self.transport.loseConnection()
        elif not self.core.reader.eof:
            self.core.receive_eof()
            self.process()

    def writeConnectionLost(self) -> None:
        """Close the connection if the client has ended its stream too."""
        if self.core.reader.eof:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        if self.close_timer:
            self.close_timer.cancel()
        if not self.disconnect_queued:
            self.queue_disconnect(ABNORMAL_CLOSURE)
        self.drain.resumeProducing()  # a `send` that waits would wait for ever
        self.has_ended = True
        if self.end is not None and not self.end.done():
            self.end.set_result(None)
        self.server.protocol_disconnected(self)
        self.log("disconnected")

    def future_end(self) -> asyncio.Future[None]:
        """Return what is done when the TCP connection has ended."""
        if self.end is None:
            self.end = asyncio.get_running_loop().create_future()
            if self.has_ended:
                self.end.set_result(None)
        return self.end

    # --- the sans-I/O core: frames -----------------------------------------------------

    def process(self) -> None:
        """Pass the core's events to the application, and its bytes to the transport."""
        for event in self.core.events_received():
            self.frame_received(event)
        # After a failure the core has no event: its close frame is already among the bytes.
        if self.core.parser_exc is not None and not self.disconnect_queued:
            close = self.core.close_sent
            self.queue_disconnect(close.code if close else ABNORMAL_CLOSURE)
        self.flush()

    def frame_received(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            close = self.core.close_rcvd
            if close and not self.disconnect_queued:
                self.queue_disconnect(close.code, close.reason)
        elif frame.opcode is Opcode.PONG:
            self.ping_sent_at = None
        elif frame.opcode is Opcode.TEXT:
            self.message_received(bytes(frame.data).decode(), len(frame.data))
        elif frame.opcode is Opcode.BINARY:
            self.message_received(bytes(frame.data), len(frame.data))

    def message_received(self, message: str | bytes, size: int) -> None:
        """Queue a message of so many bytes; pause reading if the application has too much unread."""
        if self.disconnect_queued:
            return  # no event may follow a disconnect
        self.unread_bytes += size
        kind = "text" if isinstance(message, str) else "bytes"
        self.queue.put_nowait({"type": "websocket.receive", kind: message})
        too_much = (
            len(self.queue) >= MAX_UNREAD_MESSAGES
            or self.unread_bytes >= MAX_UNREAD_BYTES
        )
        if too_much:
            self.pause_reading()

    def flush(self) -> None:
        """Write the core's bytes; an empty chunk ends the stream."""
        for data in self.core.data_to_send():
            if data:
                self.write(data)
            elif not self.has_ended:
                self.end_writing()

    def write(self, data: bytes) -> None:
        """Write bytes, at once if none are waiting; no-op if the connection has ended."""
        if not self.has_ended:
            write_now(self.transport, data)

    def end_writing(self) -> None:
        """Close the connection for writing, and discard what still arrives.

        Closing both ways at once would answer data on its way here with a TCP reset, which
        can overtake the close frame and hide it from the client.
        """
        # A transport with a producer waits for it before it closes.
        self.transport.unregisterProducer()
        self.drain.resumeProducing()
        self.resume_reading()
        self.start_close_timer()
        if isinstance(self.transport, ProtocolWrapper):
            # TLS sends its own end of the stream, and Twisted reads until the client's.
            # A half-close of TCP would cut off what has not been encrypted yet.
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def start_close_timer(self) -> None:
        """Cut the connection unless the client closes it in time."""
        if self.close_timer is None:
            loop = asyncio.get_running_loop()
            self.close_timer = loop.call_later(
                CLOSE_TIMEOUT_SECONDS, self.transport.abortConnection
            )

    def regulate_reading(self) -> None:
        """Pause reading while the client does not read, resume it when all is read.

        Answers to pings need room in the write buffer as well.
        """
        if not self.drain.writable.is_set():
            self.pause_reading()
        elif self.disconnect_queued or not self.queue.events:
            self.resume_reading()

    def pause_reading(self) -> None:
        if not self.reading_paused:
            self.reading_paused = True
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Resume reading, after the bytes that have been read have been parsed.

        The rest of a turn is parsed in the loop's next iteration, after other connections.
        """
        if not self.reading_paused or not self.drain.writable.is_set():
            return
        if not self.core.turn_over:
            self.reading_paused = False
            self.resumed_at = time.monotonic()
            if not self.core.reader.eof:
                self.transport.resumeProducing()
        elif not self.turn_scheduled:
            self.turn_scheduled = True
            asyncio.get_running_loop().call_soon(self.take_turn)

    def take_turn(self) -> None:
        """Parse the next turn's frames."""
        self.turn_scheduled = False
        if self.core.turn_over and not self.has_ended:
            self.core.take_turn()
            self.process()
            self.regulate_reading()

    # --- the handshake -----------------------------------------------------------------

    def open(self, head: Head) -> None:
        """Start the application for a handshake that the guard has checked."""
        self.core.receive_handshake(head)
        scope = self.scope(head)
        if head.raw:
            offer_tap(scope, self, self.core, "dataReceived", head)
        self.subprotocols = scope["subprotocols"]
        client = scope["client"]
        self.log_details = {
            "path": head.target.decode(),
            "client": "{}:{}".format(*client) if client else None,
        }
        self.log("connecting")
        self.queue.put_nowait({"type": "websocket.connect"})
        task = self.server.create_application(self, scope)
        task.add_done_callback(self.application_ended)

    def scope(self, head: Head) -> dict[str, Any]:
        """Return the ASGI connection scope, by Daphne's own rules for headers and proxies."""
        root_path = self.server.root_path
        if root_paths := head.get_all(ROOT_PATH_HEADER):  # from a trusted proxy
            root_path = unquote(root_paths[-1].decode("latin-1"))
            head.replace(ROOT_PATH_HEADER, None)
        client, server, scheme = self.addresses(head)
        return scope_of(head) | {
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "scheme": "wss" if scheme == "https" else "ws",
            "root_path": root_path,
            "client": client,
            "server": server,
        }

    def addresses(self, head: Head) -> tuple[list[Any] | None, list[Any] | None, str]:
        """Return the client's and the server's host and port, and http or https.

        An address is None on a Unix socket. A proxy's headers count if the server was
        started with ``--proxy-headers``.
        """
        scheme = "https" if hasattr(self.transport, "getPeerCertificate") else "http"
        peer, host = self.transport.getPeer(), self.transport.getHost()
        client = server = None
        if hasattr(peer, "host") and hasattr(peer, "port"):
            client, server = [str(peer.host), peer.port], [str(host.host), host.port]
        if self.server.proxy_forwarded_address_header:
            names = {name for name, _ in head.headers}
            client, scheme = parse_x_forwarded_for(
                {name: b",".join(head.get_all(name)) for name in names},
                self.server.proxy_forwarded_address_header,
                self.server.proxy_forwarded_port_header,
                self.server.proxy_forwarded_proto_header,
                client,
                scheme,
            )
        return client, server, scheme

    # --- ASGI: the application ---------------------------------------------------------

    def queue_disconnect(self, code: int, reason: str = "") -> None:
        """Queue the application's last event."""
        self.disconnect_queued = True
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": code, "reason": reason}
        )

    async def receive(self) -> dict[str, Any]:
        """ASGI ``receive``: return the next event.

        An application that asks for the next event has handled the one before: a deferred
        end is due when there are no more.
        """
        queue = self.queue
        if not queue.events:
            self.core.application_waits = True
            if self.core.deferred is not None:
                self.core.apply_deferred()
                self.process()
            await queue.wait()
        event = queue.take()
        if not queue.events:
            self.unread_bytes = 0
            self.resume_reading()
        return event

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI ``send``: wait until the client has read enough, and act on the message."""
        if not self.drain.writable.is_set():
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
            self.write(encode_frame(Opcode.BINARY, data))
        else:
            self.write(encode_frame(Opcode.TEXT, message["text"].encode()))

    def write_at_once(self, frames: bytes) -> bool:
        """Write whole frames at once if that needs no wait: see WRITE_EXTENSION."""
        if (
            self.core.state is not State.OPEN
            or self.has_ended
            or not self.drain.writable.is_set()
        ):
            return False
        write_now(self.transport, frames)
        return True

    def accept(self, message: dict[str, Any]) -> None:
        """Complete the handshake; no-op if the client has gone."""
        if self.core.state is not State.CONNECTING or self.disconnect_queued:
            return
        self.core.send_handshake(self.response_headers(message))
        self.process()  # including frames that arrived before the response
        if self.core.turn_over:
            self.pause_reading()
        self.regulate_reading()
        self.log("connected")

    def response_headers(self, message: dict[str, Any]) -> list[tuple[bytes, bytes]]:
        """Return the headers of the response to a handshake that is accepted."""
        headers = [(b"Date", formatdate(usegmt=True).encode())]
        if self.server.server_name:
            headers.append((b"Server", self.server.server_name.encode()))
        headers += message.get("headers") or ()
        if (subprotocol := message.get("subprotocol")) is not None:
            if subprotocol not in self.subprotocols:
                raise ValueError(
                    "expected a subprotocol that the client offered, "
                    f"{self.subprotocols}, got {subprotocol!r}: accept with one of "
                    "those or with None"
                )
            headers.append((b"Sec-WebSocket-Protocol", subprotocol.encode()))
        return headers

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake; refuse a handshake that is not complete."""
        if self.core.state is State.OPEN:
            if not self.disconnect_queued:
                self.queue_disconnect(code, reason)
            self.core.send_close(code, reason)
            self.resume_reading()
            self.start_close_timer()
            self.process()
        elif self.core.state is State.CONNECTING and not self.core.eof_sent:
            self.start_refusal(403, ())
            self.refuse(b"", more=False)

    def start_refusal(self, status: int, headers: Any) -> None:
        """Start the HTTP response that refuses the handshake."""
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
        """Add to the refusal's body; send the refusal when it is whole."""
        assert self.refusal is not None
        self.refusal.body = (self.refusal.body or b"") + body
        if more or self.core.state is not State.CONNECTING or self.core.eof_sent:
            return
        self.refusal.headers["Content-Length"] = str(len(self.refusal.body))
        self.core.send_response(self.refusal)
        self.flush()
        self.log("rejected")
        if not self.disconnect_queued:
            self.queue_disconnect(ABNORMAL_CLOSURE)

    def application_ended(self, task: asyncio.Future[Any]) -> None:
        """End the connection of an application that has returned without closing it.

        One that was cancelled closes with 1012, one that raised with 1011; any other is cut.
        Daphne checks for ended applications once a second only, and logs exceptions then.
        """
        if self.has_ended:
            return
        if self.core.state is State.OPEN:
            if task.cancelled():
                self.close(CloseCode.SERVICE_RESTART)
            elif task.exception():
                self.close(CloseCode.INTERNAL_ERROR)
            else:
                self.transport.unregisterProducer()
                self.transport.loseConnection()
                self.start_close_timer()  # TLS waits for the client's end of the stream
        elif self.core.state is State.CONNECTING and not self.core.eof_sent:
            self.start_refusal(503 if task.cancelled() else 500, ())
            self.refuse(b"", more=False)

    # --- Daphne: the methods that its server calls --------------------------------------

    def handle_exception(self, exception: BaseException) -> None:
        """Do nothing: ``application_ended`` has handled it, and Daphne has logged it."""

    def check_timeouts(self) -> None:
        """Check the lifetime, the handshake and the keepalive; called every two seconds."""
        now, server = time.monotonic(), self.server
        age = now - self.opened_at
        if self.core.state is State.CONNECTING:
            if age > server.websocket_connect_timeout > 0 and not self.core.eof_sent:
                self.close(CloseCode.POLICY_VIOLATION)
        elif self.core.state is State.OPEN:
            if age > server.websocket_timeout >= 0:
                self.close(CloseCode.NORMAL_CLOSURE)
            elif not self.reading_paused:  # else no pong would be seen
                self.keep_alive(now)

    def keep_alive(self, now: float) -> None:
        """Ping a silent client; close with 1011 if it does not answer."""
        if self.ping_sent_at is None:
            if now - self.last_received_at > self.server.ping_interval:
                self.ping_sent_at = now
                self.core.send_ping(os.urandom(4))
                self.flush()
        elif now - max(self.ping_sent_at, self.resumed_at) > self.server.ping_timeout:
            self.close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")

    def log(self, action: str) -> None:
        self.server.log_action("websocket", action, self.log_details)


def write_now(transport: Any, data: bytes) -> None:
    """Write to a transport, and to its socket at once if nothing waits to be written.

    Twisted would wait for the event loop's next turn, and watch the socket for it.
    """
    if isinstance(transport, TcpServer) and not (
        transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting
    ):
        sent = transport.writeSomeData(data)
        if not isinstance(sent, int):  # the connection is lost: doWrite will notice
            sent = 0
        data = data[sent:]
    if data:
        transport.write(data)


def write_body(request: WebRequest, data: bytes) -> bool:
    """Write a part of a response's body if that needs no wait: see WRITE_EXTENSION."""
    if request.finished or request.channel is None or request.producer is None:
        return False  # over, or no part of the body has been sent yet
    if not request.producer.writable.is_set():
        return False
    HttpRequest.write(request, data)
    return True


class WebSocketFactory:
    """Makes the WebSocket protocols for Daphne's HTTP side."""

    def __init__(self, server: "FaithfulServer") -> None:
        self.server = server  # whose connections these are

    def buildProtocol(self, address: Any) -> WebSocketProtocol:
        return WebSocketProtocol(self.server)


def with_backlog(endpoint: str) -> str:
    """Return Twisted's description of an endpoint with BACKLOG, unless it has its own.

    Kinds that do not listen themselves (systemd) have none.
    """
    kind, *arguments = re.split(r"(?<!\\):", endpoint.removeprefix("haproxy:"))
    place = BACKLOG_POSITIONS.get(kind)
    by_name = [argument for argument in arguments if "=" in argument]
    has_its_own = any(argument.startswith("backlog=") for argument in by_name)
    if place is None or has_its_own or len(arguments) - len(by_name) >= place:
        return endpoint
    return f"{endpoint}:backlog={BACKLOG}"


class FaithfulServer(daphne.server.Server):
    """Daphne's server with this package's WebSocket protocol, guard and shutdown."""

    def __init__(
        self, *args: Any, endpoints: Any, ready_callable: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(
            *args,
            endpoints=[with_backlog(endpoint) for endpoint in endpoints],
            ready_callable=self.ready,
            **kwargs,
        )
        self.when_ready = ready_callable  # called when the server is set up
        self.stopped = threading.Event()  # set when the reactor has stopped
        self.stalls = StallDetector()  # cuts clients that take nothing

    def run(self) -> None:
        # Under the autoreloader this runs in a daemon thread, which would end with its
        # sockets open: the main thread waits for the closing handshakes instead.
        if threading.current_thread() is not threading.main_thread():
            atexit.register(self.stop_and_wait)
        exempt_modules()  # before it listens: nobody waits for it then
        try:
            super().run()
        finally:
            self.stopped.set()

    def ready(self) -> None:
        """Replace Daphne's WebSocket factory and HTTP channel, before the reactor starts."""
        self.ws_factory = WebSocketFactory(self)
        self.http_factory.buildProtocol = self.build_http_protocol
        reactor.callLater(SWEEP_SECONDS, self.cut_stalled)
        self.http_factory.protocol = GuardedChannel
        # Twisted offers HTTP/2 if `h2` is installed, and the guard reads HTTP/1.1 only.
        self.http_factory.acceptableProtocols = lambda: [b"http/1.1"]
        if self.when_ready:
            self.when_ready()

    def build_http_protocol(self, address: Any) -> Any:
        """Return Daphne's HTTP protocol, which leaves parsing of forms to Django.

        Twisted would parse each POST's form in vain, and answer a malformed one by itself,
        with a bare 400.
        """
        protocol = type(self.http_factory).buildProtocol(self.http_factory, address)
        protocol.requestFactory = partial(WebRequest, parsePOSTFormSubmission=False)
        return protocol

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application for a connection, with the extension that cuts it."""
        extensions = scope.setdefault("extensions", {})
        extensions[CUT_EXTENSION] = protocol.transport.abortConnection
        if scope["type"] != "websocket":
            extensions[WRITE_EXTENSION] = partial(write_body, protocol)
            extensions[ADOPT_EXTENSION] = self.adopt
            return super().create_application(protocol, scope)
        extensions[WRITE_EXTENSION] = protocol.write_at_once
        task = asyncio.ensure_future(
            self.application(scope=scope, receive=protocol.receive, send=protocol.send)
        )
        self.connections[protocol]["application_instance"] = task
        return task

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Send part of an HTTP response; a stream waits for a client that reads slowly."""
        streams = message.get("more_body", False) and not protocol.finished
        if message["type"] == "http.response.body" and protocol.channel is not None:
            if streams and protocol.producer is None:
                protocol.registerProducer(Drain(), True)
            elif not streams and protocol.producer is not None:
                protocol.unregisterProducer()
        await super().handle_reply(protocol, message)
        if streams and protocol.producer is not None:
            await protocol.producer.writable.wait()

    async def adopt(self, connection: socket.socket) -> None:
        """Serve a connected TCP socket: see ADOPT_EXTENSION."""
        with connection:  # the reactor duplicates it
            connection.setblocking(False)
            transport = reactor.adoptStreamConnection(
                connection.fileno(), connection.family, self.http_factory
            )
        names = {
            name.lower().encode()
            for name in (
                self.proxy_forwarded_address_header,
                self.proxy_forwarded_port_header,
                self.proxy_forwarded_proto_header,
            )
            if name
        }
        transport.protocol.guard.distrust(PROXY_HEADERS | names)

    def cut_stalled(self) -> None:
        """Cut the connections, those of HTTP too, whose client does not read."""
        reactor.callLater(SWEEP_SECONDS, self.cut_stalled)
        self.stalls.sweep(
            Backlog(
                transport=writer,
                socket=writer.getHandle(),
                size=len(writer.dataBuffer) - writer.offset + writer._tempDataLen,
                cut=writer.abortConnection,
            )
            for writer in reactor.getWriters()  # those that have bytes to write
            if isinstance(writer, TcpServer) and writer.connected
        )

    def kill_all_applications(self) -> defer.Deferred[None]:
        """End all connections; Daphne's name for the shutdown."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self.end_connections()))

    async def end_connections(self) -> None:
        """Cancel the applications, and wait a while for responses and closing handshakes.

        A cancelled application's WebSocket closes with 1012 (``application_ended``).
        """
        tasks = {
            protocol: details["application_instance"]
            for protocol, details in self.connections.items()
            if "application_instance" in details
        }
        sockets = [p for p in self.connections if isinstance(p, WebSocketProtocol)]
        responses = [
            task for protocol, task in tasks.items() if protocol not in sockets
        ]
        for protocol in sockets:
            if protocol in tasks:
                tasks[protocol].cancel()
        if responses:
            await asyncio.wait(responses, timeout=RESPONSE_SECONDS)
        for task in responses:
            task.cancel()
        closings = [protocol.future_end() for protocol in sockets]
        endings = [*tasks.values(), *closings]
        if endings:
            await asyncio.wait(endings, timeout=SHUTDOWN_SECONDS)

    def stop_and_wait(self) -> None:
        """Stop the reactor from another thread, and wait for it."""
        if reactor.running:
            reactor.callFromThread(self.stop)
            self.stopped.wait(SHUTDOWN_SECONDS + 1)


class DaphneCommand(CommandLineInterface):
    """Daphne's command line with the faithful server: ``python -m echo.servers``."""

    description = "Daphne, with a faithful WebSocket"
    server_class = FaithfulServer

    def __init__(self) -> None:
        super().__init__()
        self.parser.set_defaults(
            websocket_max_message_size=settings.ECHO_MAX_MESSAGE_BYTES,
            websocket_connect_timeout=20,  # longer than the longest `hang`
        )
