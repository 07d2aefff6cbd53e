"""Daphne made faithful: another WebSocket protocol, backpressure, and a polite end."""

import asyncio
import atexit
import os
import threading
import time
from collections import deque
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
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from zope.interface import implementer  # type: ignore[import-untyped]

from echo.protocol import CUT_EXTENSION, CloseCode, reason_phrase
from echo.servers.channel import GuardedChannel
from echo.servers.core import (
    ABNORMAL_CLOSURE,
    CLOSE_TIMEOUT_SECONDS,
    MAX_UNREAD_BYTES,
    MAX_UNREAD_MESSAGES,
    SHUTDOWN_SECONDS,
    PatientCore,
)
from echo.servers.stalled import SWEEP_SECONDS, Stalled, Unread

# How long a shutdown waits for HTTP requests that are being answered.
ANSWER_SECONDS = 0.5

# Twisted's table ends at 2006: it would answer "426 Unknown Status".
for status in HTTPStatus:
    RESPONSES.setdefault(status.value, status.phrase.encode())


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


@implementer(IHalfCloseableProtocol)
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
        self.events: deque[dict[str, Any]] = deque()
        self.unread_bytes = 0
        self.arrival: asyncio.Future[None] | None = None
        self.reading_paused = False
        self.turn_planned = False
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
            if self.core.turn_over:
                self.pause_reading()
                self.regulate_reading()
        early = self.core.state is State.CONNECTING and not self.core.eof_sent
        if early and len(self.core.reader.buffer) >= MAX_UNREAD_BYTES:
            self.pause_reading()

    def readConnectionLost(self) -> None:
        """Answer what came before a half-close, and then end the connection."""
        if self.core.eof_sent:
            self.transport.loseConnection()
        elif not self.core.reader.eof:
            self.core.receive_eof()
            self.process()

    def writeConnectionLost(self) -> None:
        """Close the connection when the client has ended its stream before."""
        if self.core.reader.eof:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        if self.close_timer:
            self.close_timer.cancel()
        if not self.disconnect_told:
            self.tell_disconnect(ABNORMAL_CLOSURE)
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
            self.tell_disconnect(close.code if close else ABNORMAL_CLOSURE)
        self.flush()

    def frame_received(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            close = self.core.close_rcvd
            if close and not self.disconnect_told:
                self.tell_disconnect(close.code, close.reason)
        elif frame.opcode is Opcode.PONG:
            self.pinged_at = None
        elif frame.opcode is not Opcode.PING:
            self.message_received(frame)

    def message_received(self, message: Frame) -> None:
        if self.disconnect_told:
            return  # the application has closed and reads no more
        payload = bytes(message.data)
        self.unread_bytes += len(payload)
        if message.opcode is Opcode.TEXT:
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
        if isinstance(self.transport, ProtocolWrapper):
            # TLS: its own end of the stream goes out, and Twisted reads on until the
            # client's; a half-close below it would cut off what has not been encrypted.
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

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
        """Read on; what has been read and not parsed comes first, after the others' turn."""
        if not self.reading_paused or not self.drain.writable.is_set():
            return
        if not self.core.turn_over:
            self.reading_paused = False
            if not self.core.reader.eof:
                self.transport.resumeProducing()
        elif not self.turn_planned:
            self.turn_planned = True
            asyncio.get_running_loop().call_soon(self.take_turn)

    def take_turn(self) -> None:
        self.turn_planned = False
        if self.core.turn_over and not self.closed.is_set():
            self.core.take_turn()
            self.process()
            self.regulate_reading()

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
            if name.lower() == "daphne-root-path":  # from a trusted proxy
                root_path = unquote(value)
            elif "_" not in name:  # CVE-2015-0219
                headers.append((name.lower().encode("ascii"), value.encode("latin-1")))
        client, server = self.addresses()
        scheme = "https" if hasattr(self.transport, "getPeerCertificate") else "http"
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
        self.process()  # with the frames that were early
        if self.core.turn_over:
            self.pause_reading()
        self.regulate_reading()
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
            self.tell_disconnect(ABNORMAL_CLOSURE)

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
                self.start_close_timer()  # over TLS, it waits for the client's end
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
        self.stalled = Stalled()

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
        reactor.callLater(SWEEP_SECONDS, self.cut_stalled)
        self.http_factory.protocol = GuardedChannel
        # Nothing would guard HTTP/2, which Twisted speaks where `h2` is installed.
        self.http_factory.acceptableProtocols = lambda: [b"http/1.1"]
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
        cut = protocol.transport.abortConnection
        scope.setdefault("extensions", {})[CUT_EXTENSION] = cut
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

    def cut_stalled(self) -> None:
        """Cut connections, HTTP's too, whose client does not take what waits for it."""
        reactor.callLater(SWEEP_SECONDS, self.cut_stalled)
        self.stalled.sweep(
            Unread(
                transport=writer,
                socket=writer.getHandle(),
                size=len(writer.dataBuffer) - writer.offset + writer._tempDataLen,
                cut=writer.abortConnection,
            )
            for writer in reactor.getWriters()  # those that have bytes to write
            if isinstance(writer, TcpServer) and writer.connected
        )

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
