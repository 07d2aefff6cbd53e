"""uvicorn with the same WebSocket core and guard as Daphne, and an orderly shutdown.

uvicorn has no setting for any of this, so the methods of its protocols are replaced when the
application is imported.
"""

import asyncio
import contextlib
import logging
import socket
import struct
import sys
from asyncio.sslproto import _SSLProtocolTransport
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_path_with_query_string,
)
from websockets.frames import Opcode
from websockets.protocol import State

from echo.protocol import (
    ADOPT_EXTENSION,
    CUT_EXTENSION,
    PROXY_HEADERS,
    WRITE_EXTENSION,
    CloseCode,
)
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
from echo.servers.guard import Guard
from echo.servers.heads import Head, Refusal
from echo.servers.stalled import SWEEP_SECONDS, Backlog, StallDetector
from echo.servers.tap import offer_tap

# TLS closes when nothing has arrived for so long.
QUIET_SECONDS = 0.5
SHUTTING_DOWN = "the server is shutting down: try again"


class TlsClose:
    """Closes a TLS connection without a TCP reset."""

    transport: Any  # asyncio's or uvloop's
    # Closes the transport, unless more bytes arrive before; None before the close.
    quiet_timer: asyncio.TimerHandle | None = None

    def close_over_tls(self) -> None:
        """Close the connection, under asyncio once no more bytes arrive.

        asyncio's TLS resets a closing connection on which bytes arrive; uvloop's reads on
        until the client's end of the stream.
        """
        if not isinstance(self.transport, _SSLProtocolTransport):
            self.transport.close()
            return
        if self.quiet_timer is not None:
            self.quiet_timer.cancel()
        self.quiet_timer = asyncio.get_running_loop().call_later(
            QUIET_SECONDS, self.transport.close
        )


class WebSocketMethods(TlsClose):
    """The methods that replace those of uvicorn's WebSocket protocol.

    Attributes without a value are uvicorn's own, and ``stock_`` methods are those replaced.
    """

    conn: DeferringCore
    queue: EventQueue  # events for the application
    writable: asyncio.Event  # set while the transport's buffer has room
    handle_events: Callable[[], None]
    stock_send: Callable[[Any], Awaitable[None]]
    stock_shutdown: Callable[[], None]
    stock_send_500_response: Callable[[], None]
    stock_keepalive_timeout: Callable[[], None]
    stop_keepalive: Callable[[], None]
    handshake_complete: bool
    disconnected: bool
    read_paused: bool  # the transport's reading is paused, other than by `writable`
    close_sent: bool  # the application's last event is queued
    close_timer: asyncio.TimerHandle | None
    pong_timer: asyncio.TimerHandle | None
    ping_timeout: float
    frames: list[bytes]
    curr_msg_data_type: str
    app_state: dict[str, Any]  # of the application's lifespan
    asgi_version: str
    client: tuple[str, int] | None
    default_headers: list[tuple[bytes, bytes]]
    initial_response: tuple[Any, ...] | None  # the refusal that has been started
    logger: logging.Logger
    loop: asyncio.AbstractEventLoop
    root_path: str
    run_asgi: Callable[[], Coroutine[Any, Any, None]]
    scheme: str
    scope: dict[str, Any]
    server: tuple[str, int | None] | None
    start_keepalive: Callable[[], None]
    tasks: set[asyncio.Task[None]]
    unread_bytes = 0  # of the messages in `queue`
    turn_scheduled = False  # `take_turn` will run in the loop's next iteration
    resumed_at = 0.0  # when reading went on after its last pause, by the loop's clock
    failed = False  # a failure of the core has been handled

    def open(self, head: Head) -> None:
        """Start the application for a handshake that the guard has checked."""
        self.conn.receive_handshake(head)
        self.scope = scope_of(head) | {
            "asgi": {"version": self.asgi_version, "spec_version": "2.4"},
            "scheme": self.scheme,
            "server": self.server,
            "client": self.client,
            "root_path": self.root_path,
            "state": self.app_state.copy(),
        }
        if self.root_path:
            self.scope["path"] = self.root_path + self.scope["path"]
            self.scope["raw_path"] = self.root_path.encode() + self.scope["raw_path"]
        if head.raw:
            offer_tap(self.scope, self, self.conn, "data_received", head)
        self.queue.put_nowait({"type": "websocket.connect"})
        task = self.loop.create_task(self.run_asgi())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def receive(self) -> dict[str, Any]:
        """ASGI ``receive``: return the next event.

        An application that asks for the next event has handled the one before: a deferred
        end is due when there are no more.
        """
        queue = self.queue
        if not queue.events:
            self.conn.application_waits = True
            if self.conn.deferred is not None:
                self.conn.apply_deferred()
                self.process()
            await queue.wait()
        event = queue.take()
        if not queue.events:
            self.unread_bytes = 0
            if self.read_paused:
                self.read_on()
        return event

    def data_received(self, data: bytes) -> None:
        """Parse the first turn of a packet, and schedule the rest."""
        if self.quiet_timer is not None:
            self.close_over_tls()  # starts the timer again
        if (message := self.conn.read_alone(data)) is not None:
            self.message_received(message, len(data))
            return
        self.conn.receive_data(data)
        self.process()
        self.end_turn()
        # Frames before the handshake's response wait in the core's buffer: bound it.
        early_bytes = 0 if self.handshake_complete else len(self.conn.reader.buffer)
        if early_bytes >= MAX_UNREAD_BYTES:
            self.pause_reading()

    def end_turn(self) -> None:
        """Pause reading while a packet has frames left; schedule them if all is read."""
        if self.conn.turn_over and not self.transport.is_closing():
            self.pause_reading()
            if not self.queue.events or self.close_sent:
                self.read_on()

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def read_on(self) -> None:
        """Resume reading, after the bytes that have been read have been parsed.

        The rest of a turn is parsed in the loop's next iteration, after other connections.
        """
        if not self.conn.turn_over:
            self.read_paused = False
            if self.writable.is_set():
                self.resume_reading()
        elif not self.turn_scheduled:
            self.turn_scheduled = True
            asyncio.get_running_loop().call_soon(self.take_turn)

    def resume_reading(self) -> None:
        self.resumed_at = asyncio.get_running_loop().time()
        self.transport.resume_reading()

    def take_turn(self) -> None:
        """Parse the next turn's frames."""
        self.turn_scheduled = False
        if not self.writable.is_set() or self.transport.is_closing():
            return
        self.conn.take_turn()
        self.process()
        if not self.queue.events or self.close_sent:
            self.read_on()

    def eof_received(self) -> bool:
        """Answer what came before a half-close, then close; uvicorn closes at once.

        Return True to keep the connection open, which TLS cannot.
        """
        if self.conn.state is not State.OPEN or not self.transport.can_write_eof():
            return False
        self.conn.receive_eof()
        if self.conn.deferred is None:
            self.process()
            return False
        return True

    def send_receive_event_to_app(self) -> None:
        """Pass a message on that uvicorn has taken from the core."""
        payload = bytes(self.frames.pop())  # the core has joined the fragments
        if self.curr_msg_data_type == "text":  # the core has checked the UTF-8
            self.message_received(payload.decode(), len(payload))
        else:
            self.message_received(payload, len(payload))

    def message_received(self, message: str | bytes, size: int) -> None:
        """Queue a message of so many bytes; pause reading if the application has too much unread.

        uvicorn pauses after each message.
        """
        if self.close_sent:
            return  # no event may follow a disconnect
        kind = "text" if isinstance(message, str) else "bytes"
        self.queue.put_nowait({"type": "websocket.receive", kind: message})
        self.unread_bytes += size
        if (
            self.unread_bytes >= MAX_UNREAD_BYTES
            or len(self.queue) >= MAX_UNREAD_MESSAGES
        ):
            self.pause_reading()

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI ``send``: messages go straight to the core, anything else to uvicorn."""
        if message["type"] != "websocket.send" or self.conn.state is not State.OPEN:
            # Too late after a disconnect that the application has not read.
            if not self.close_sent or self.disconnected:
                await self.send_control(message)
            return
        if not self.writable.is_set():
            await self.writable.wait()
            if self.conn.state is not State.OPEN:
                return
        if self.transport.is_closing():  # the client has gone without a close frame
            raise ClientDisconnected
        if (data := message.get("bytes")) is not None:
            self.transport.write(encode_frame(Opcode.BINARY, data))
        else:
            self.transport.write(encode_frame(Opcode.TEXT, message["text"].encode()))

    def write_at_once(self, frames: bytes) -> bool:
        """Write whole frames at once if that needs no wait: see WRITE_EXTENSION."""
        if (
            self.conn.state is not State.OPEN
            or not self.writable.is_set()
            or self.transport.is_closing()
        ):
            return False
        self.transport.write(frames)
        return True

    async def send_control(self, message: dict[str, Any]) -> None:
        """Accept, or let uvicorn refuse or close; then read what waited for that."""
        accepts = message["type"] == "websocket.accept"
        if accepts and not (self.handshake_complete or self.initial_response):
            self.accept(message)
        else:
            await self.stock_send(message)
        if self.close_sent and self.close_timer:
            # uvicorn's own timer only closes: the transport would wait for its buffer.
            self.abort_after(CLOSE_TIMEOUT_SECONDS)
            if self.conn.turn_over:
                self.read_on()
        self.process()
        # Frames that arrived before the handshake's response have waited until now.
        self.end_turn()
        if (
            self.read_paused
            and not self.queue.events
            and not self.transport.is_closing()
        ):
            self.read_on()

    def accept(self, message: dict[str, Any]) -> None:
        """Complete the handshake; no-op if the client is going."""
        if self.logger.isEnabledFor(logging.INFO):
            client = get_client_addr(self.scope)  # type: ignore[arg-type]
            path = get_path_with_query_string(self.scope)  # type: ignore[arg-type]
            self.logger.info('%s - "WebSocket %s" [accepted]', client, path)
        if self.transport.is_closing():
            return
        headers = [*self.default_headers, *message.get("headers", ())]
        if subprotocol := message.get("subprotocol"):
            headers.append((b"Sec-WebSocket-Protocol", subprotocol.encode()))
        self.conn.send_handshake(headers)
        self.handshake_complete = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.start_keepalive()

    def shutdown(self) -> None:
        """Close with 1012 and wait for the answer: closing TCP now could send a reset."""
        if self.close_sent:
            self.stock_shutdown()
            self.abort_after(SHUTDOWN_SECONDS)
        elif not self.handshake_complete:
            self.refuse_for_shutdown()
        else:
            self.close_with(CloseCode.SERVICE_RESTART)

    def refuse_for_shutdown(self) -> None:
        """Refuse a handshake that the application has not answered, with 503 as Daphne."""
        self.close_sent = self.handshake_complete = True
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": ABNORMAL_CLOSURE}
        )
        self.transport.write(Refusal(503, SHUTTING_DOWN).encode())
        self.transport.close()
        self.abort_after(SHUTDOWN_SECONDS)

    def send_500_response(self) -> None:
        """End the connection of an application that raised: 1011 if open, else a 500.

        uvicorn calls this.
        """
        if self.transport.is_closing():
            return
        if self.conn.state is State.OPEN:
            self.close_with(CloseCode.INTERNAL_ERROR)
        else:
            self.stock_send_500_response()

    def close_with(self, code: CloseCode) -> None:
        """Close with the code; cut the connection if the client does not answer in time."""
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.abort_after(SHUTDOWN_SECONDS)
        self.read_on()
        self.process()

    def abort_after(self, seconds: float) -> None:
        """Cut the connection if it has not ended by then.

        The client may never read the close frame.
        """
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = asyncio.get_running_loop().call_later(
            seconds, self.transport.abort
        )

    def keepalive_timeout(self) -> None:
        """Close if a pong is late: no pong is seen while reading is paused."""
        loop = asyncio.get_running_loop()
        if self.read_paused or not self.writable.is_set():
            self.resumed_at = loop.time()  # at the earliest
        due_at = self.resumed_at + self.ping_timeout
        if loop.time() < due_at:
            self.pong_timer = loop.call_at(due_at, self.keepalive_timeout)
        elif not self.close_sent and not self.transport.is_closing():
            self.stock_keepalive_timeout()
            self.abort_after(CLOSE_TIMEOUT_SECONDS)

    def process(self) -> None:
        """Pass the core's events, or its failure, to the application and the transport."""
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
        else:
            self.handle_events()

    def handle_parser_exception(self) -> None:
        """Send the close frame, and then read on until the client has read it.

        uvicorn closes at once, which is a TCP reset if more bytes arrive.
        """
        if self.failed or self.transport.is_closing():
            return
        self.failed = True
        if not self.close_sent:
            close = self.conn.close_sent
            code = close.code if close else ABNORMAL_CLOSURE
            self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
            self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.conn.reader.eof:  # nothing more comes
            self.transport.close()
            return
        if not self.transport.can_write_eof():  # TLS has no half-close
            self.abort_after(CLOSE_TIMEOUT_SECONDS)
            self.close_over_tls()
            return
        self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is None:
            self.abort_after(CLOSE_TIMEOUT_SECONDS)

    def pause_writing(self) -> None:
        """Stop reading too: answers to pings need room in the write buffer as well."""
        self.writable.clear()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable.set()
        if not self.read_paused:
            self.resume_reading()
        elif not self.queue.events or self.close_sent:
            self.read_on()


def reset(transport: asyncio.Transport) -> None:
    """Cut a connection with a TCP reset, so that the kernel drops its send buffer too."""
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    transport.abort()


def backlog_size(transport: Any) -> int:
    """Return the bytes that wait in a transport's buffer; 0 once it is closed.

    asyncio's TLS has let go of its buffer when it is closed for the second time.
    """
    try:
        return int(transport.get_write_buffer_size())
    except AttributeError:
        return 0


async def cut_stalled(connections: Iterable[Any]) -> None:
    """Cut the connections, those of HTTP too, whose client does not read."""
    stalls = StallDetector()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        transports = [protocol.transport for protocol in connections]
        stalls.sweep(
            Backlog(
                transport=transport,
                socket=transport.get_extra_info("socket"),
                size=size,
                cut=partial(reset, transport),
            )
            for transport in transports
            if (size := backlog_size(transport))
        )


def prepare_servers(server: Any) -> None:
    """Run ``cut_stalled`` in each server, and spare it work of the garbage collector."""
    stock_startup = server.startup

    async def startup(self: Any, *arguments: Any, **options: Any) -> None:
        exempt_modules()  # before it listens: nobody waits for it then
        await stock_startup(self, *arguments, **options)
        connections = self.server_state.connections
        self.sweeping = asyncio.create_task(cut_stalled(connections), name="sweep")

    server.startup = startup


class HttpMethods(TlsClose):
    """The methods that replace those of uvicorn's two HTTP protocols.

    Attributes without a value are uvicorn's own, and ``stock_`` methods are those replaced.
    """

    app_state: dict[str, Any]  # of the application's lifespan
    client: tuple[str, int] | None
    config: Any
    connections: set[Any]  # of the server
    cycle: Any  # the current request and its response, or the last one
    flow: Any  # pauses and resumes reading
    guard: Any  # from connection_made on, until the connection becomes a WebSocket
    parser: Any  # of httptools
    server_state: Any
    ws_protocol_class: Any
    stock_connection_made: Callable[[Any], None]
    stock_connection_lost: Callable[[Exception | None], None]
    stock_data_received: Callable[[bytes], None]
    stock_on_response_complete: Callable[[], None]
    stock_shutdown: Callable[[], None]
    _unset_keepalive_if_required: Callable[[], None]

    def connection_made(self, transport: Any) -> None:
        self.stock_connection_made(transport)
        self.guard = Guard(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.guard.stop()
        self.stock_connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self.quiet_timer is not None:
            self.close_over_tls()  # starts the timer again
        guard = self.guard
        guard.receive(data)
        if guard.reader.buffer:  # the guard has a deadline for the rest of a head
            self._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        self.stock_on_response_complete()
        if not self.transport.is_closing():
            self.guard.response_sent()

    def send_400_response(self, message: str) -> None:
        """Refuse what uvicorn's parser has rejected and the guard has not."""
        self.guard.refuse(Refusal(400, message))

    def shutdown(self) -> None:
        """End the connection once its request has been answered."""
        if self.guard.refused:
            self.transport.abort()
        elif self.guard.reader.in_body:  # the rest of the body may never come
            self.guard.refuse(Refusal(503, SHUTTING_DOWN))
        else:
            self.stock_shutdown()

    # --- GuardedConnection --------------------------------------------------------------

    def parse(self, data: bytes) -> None:
        self.stock_data_received(data)

    def upgrade(self, head: Head, early: bytes) -> None:
        """Give the transport to a WebSocket, without uvicorn's own parser."""
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        websocket = self.ws_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        websocket.queue = EventQueue()
        websocket.connection_made(self.transport)
        self.transport.set_protocol(websocket)
        # Each refers to this object, and would wait for the garbage collector.
        self.guard = self.parser = None
        websocket.open(head)
        if early:
            websocket.data_received(early)

    def answer_has_begun(self) -> bool:
        cycle = self.cycle
        if cycle is None or not cycle.response_started:
            return False
        return not cycle.response_complete or self.guard.reader.in_body

    def end(self, response: bytes) -> None:
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(response)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:  # TLS has no half-close
            self.close_over_tls()

    def close(self) -> None:
        self.transport.close()

    def cut(self) -> None:
        self.transport.abort()

    def pause(self) -> None:
        self.flow.pause_reading()

    def peer(self) -> str:
        return "{}:{}".format(*self.client) if self.client else "-"


class BodyMethods:
    """The method that uvicorn's requests are given on top of their own."""

    flow: Any
    transport: Any
    response_started: bool
    response_complete: bool
    disconnected: bool
    send: Callable[[Any], Coroutine[Any, Any, None]]

    def write_at_once(self, data: bytes) -> bool:
        """Write a part of the body at once if that needs no wait: see WRITE_EXTENSION."""
        if (
            not self.response_started
            or self.response_complete
            or self.disconnected
            or self.flow.write_paused
            or self.transport.is_closing()
        ):
            return False
        message = {"type": "http.response.body", "body": data, "more_body": True}
        # With room in the buffer `send` ends at its first step.
        with contextlib.suppress(StopIteration):
            self.send(message).send(None)
        return True


class Http10Body:
    """The method that replaces httptools' ``send``, for clients that use HTTP/1.0."""

    scope: dict[str, Any]
    chunked_encoding: bool | None
    expected_content_length: int
    stock_send: Callable[[Any], Awaitable[None]]
    ends_with_connection = False  # the body has no length of its own

    async def send(self, message: dict[str, Any]) -> None:
        """End a body of unknown length with the connection: HTTP/1.0 has no chunks."""
        if message["type"] == "http.response.start":
            names = [name.lower() for name, _ in message.get("headers", ())]
            if self.scope["http_version"] == "1.0" and b"content-length" not in names:
                self.ends_with_connection = True
                self.chunked_encoding = False
        elif self.ends_with_connection:  # uvicorn compares it with what is sent
            self.expected_content_length = len(message.get("body", b""))
        await self.stock_send(message)


async def adopt(transport: Any, connection: socket.socket) -> None:
    """Serve a connected TCP socket as the server of this transport: see ADOPT_EXTENSION."""
    serving = transport.get_protocol()

    def make_protocol() -> Any:
        return serving.config.http_protocol_class(
            config=serving.config,
            server_state=serving.server_state,
            app_state=serving.app_state,
        )

    loop = asyncio.get_running_loop()
    try:
        _, protocol = await loop.connect_accepted_socket(make_protocol, connection)
    except BaseException:
        connection.close()
        raise
    protocol.guard.distrust(PROXY_HEADERS)


def add_extensions(protocol: Any) -> None:
    """Add the extensions that cut a connection and write to it to a protocol's scopes.

    uvicorn only closes, and a closed transport waits for ever for a client that does not
    read.
    """
    stock_run_asgi = protocol.run_asgi

    def run_asgi(self: Any, *application: Any) -> Any:
        extensions = self.scope.setdefault("extensions", {})
        extensions[CUT_EXTENSION] = self.transport.abort
        extensions[WRITE_EXTENSION] = self.write_at_once
        if self.scope["type"] == "http":
            extensions[ADOPT_EXTENSION] = partial(adopt, self.transport)
        return stock_run_asgi(self, *application)

    protocol.run_asgi = run_asgi


# Uvicorn's methods and attributes that this module replaces or uses. Attributes are found
# in the code of the constructors, which set them.
HTTP_METHODS = (
    "connection_made",
    "connection_lost",
    "data_received",
    "on_response_complete",
    "send_400_response",
    "shutdown",
    "_unset_keepalive_if_required",
)
HTTP_ATTRIBUTES = (
    "app_state",
    "client",
    "config",
    "connections",
    "cycle",
    "flow",
    "server_state",
    "transport",
    "ws_protocol_class",
)
WEBSOCKET_METHODS = (
    "data_received",
    "eof_received",
    "handle_events",
    "handle_parser_exception",
    "keepalive_timeout",
    "pause_writing",
    "receive",
    "resume_writing",
    "run_asgi",
    "send",
    "send_500_response",
    "send_receive_event_to_app",
    "shutdown",
    "start_keepalive",
    "stop_keepalive",
)
WEBSOCKET_ATTRIBUTES = (
    "ServerProtocol",  # the name that the constructor looks up
    "app_state",
    "asgi_version",
    "client",
    "close_sent",
    "close_timer",
    "conn",
    "curr_msg_data_type",
    "default_headers",
    "disconnected",
    "frames",
    "handshake_complete",
    "initial_response",
    "logger",
    "loop",
    "ping_timeout",
    "pong_timer",
    "queue",
    "read_paused",
    "root_path",
    "scheme",
    "server",
    "tasks",
    "transport",
    "writable",
)
CYCLE_ATTRIBUTES = (
    "disconnected",
    "message_event",
    "response_complete",
    "response_started",
    "flow",
    "scope",
    "transport",
)
REMEDY = "install the versions in requirements.txt, or start `python -m echo.servers`"


class UnknownUvicorn(Exception):
    """The installed uvicorn lacks something that this module replaces or uses."""


def require(kind: type, methods: Iterable[str], attributes: Iterable[str]) -> None:
    """Raise UnknownUvicorn unless the class has the methods and sets the attributes."""
    missing = [name for name in methods if not callable(getattr(kind, name, None))]
    known = kind.__init__.__code__.co_names  # type: ignore[misc]
    missing += [name for name in attributes if name not in known]
    if missing:
        raise UnknownUvicorn(
            f"expected uvicorn's {kind.__module__}.{kind.__name__} to have "
            f"{', '.join(missing)}, got uvicorn {version('uvicorn')} without: {REMEDY}"
        )


def replace_methods(kind: type, methods: type) -> None:
    """Replace the class's methods, and keep those replaced as ``stock_<name>``."""
    inherited = vars(TlsClose) if issubclass(methods, TlsClose) else {}
    for name, value in [*inherited.items(), *vars(methods).items()]:
        if name.startswith("__"):
            continue
        if hasattr(kind, name):
            setattr(kind, f"stock_{name}", getattr(kind, name))
        setattr(kind, name, value)


def make_uvicorn_faithful() -> None:
    """Give uvicorn's protocols the same core and guard as Daphne's, whatever its options.

    uvicorn imports the application before it listens. If its version is unknown, exit under
    uvicorn, and log a warning under any other server.
    """
    is_uvicorn = "uvicorn.server" in sys.modules
    try:
        patch_uvicorn()
    except (UnknownUvicorn, ImportError) as error:
        if is_uvicorn:
            sys.exit(f"uvicorn would run without this site's rules: {error}")
        logging.getLogger(__name__).warning("uvicorn cannot serve this site: %s", error)


def patch_uvicorn() -> None:
    """Replace the methods. Raises UnknownUvicorn or ImportError before any change."""
    from uvicorn.protocols.http.flow_control import FlowControl
    from uvicorn.protocols.websockets import websockets_sansio_impl as uvicorn
    from uvicorn.server import Server

    def core(*, max_size: int, **options: Any) -> DeferringCore:
        return DeferringCore(max_size=settings.ECHO_MAX_MESSAGE_BYTES, **options)

    protocol = uvicorn.WebSocketsSansIOProtocol
    require(protocol, WEBSOCKET_METHODS, WEBSOCKET_ATTRIBUTES)
    require(Server, ("startup",), ("config", "server_state"))
    require(FlowControl, ("pause_reading", "resume_reading"), ())
    modules = http_modules()
    for kind, cycle in modules:
        require(kind, HTTP_METHODS, HTTP_ATTRIBUTES)
        require(cycle, ("run_asgi",), CYCLE_ATTRIBUTES)
        if cycle.__module__.endswith("httptools_impl"):
            require(cycle, ("send",), ("chunked_encoding", "expected_content_length"))
    uvicorn.ServerProtocol = core  # type: ignore[misc, assignment]
    replace_methods(protocol, WebSocketMethods)
    add_extensions(protocol)
    for kind, cycle in modules:
        replace_methods(kind, HttpMethods)
        replace_methods(cycle, BodyMethods)
        add_extensions(cycle)
        if cycle.__module__.endswith("httptools_impl"):  # h11 handles HTTP/1.0 itself
            replace_methods(cycle, Http10Body)
    prepare_servers(Server)
    check_at_start(Server, protocol, tuple(kind for kind, _ in modules))
    # uvicorn logs an error for a handshake that the application has refused by itself.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: (
            record.msg != "ASGI callable returned without completing handshake."
        )
    )


def http_modules() -> list[tuple[type, type]]:
    """Return uvicorn's HTTP protocols and their requests; httptools is optional."""
    from uvicorn.protocols.http import h11_impl

    kinds: list[tuple[type, type]] = [
        (h11_impl.H11Protocol, h11_impl.RequestResponseCycle)
    ]
    if find_spec("httptools"):
        from uvicorn.protocols.http import httptools_impl

        kinds.append(
            (httptools_impl.HttpToolsProtocol, httptools_impl.RequestResponseCycle)
        )
    return kinds


def check_at_start(server: Any, websocket: type, http: tuple[type, ...]) -> None:
    """Exit at startup if uvicorn's options name a protocol that was not changed here."""
    stock_startup = server.startup

    async def startup(self: Any, *arguments: Any, **options: Any) -> None:
        for option, chosen, expected, named in (
            ("--ws", self.config.ws_protocol_class, (websocket,), "websockets-sansio"),
            ("--http", self.config.http_protocol_class, http, "httptools or h11"),
        ):
            if chosen not in expected:
                sys.exit(
                    f"uvicorn {option}: expected {named}, got "
                    f"{getattr(chosen, '__qualname__', chosen)}, which this site's rules "
                    f"do not reach: leave {option} out"
                )
        await stock_startup(self, *arguments, **options)

    server.startup = startup
