"""uvicorn made faithful: the same core, and an orderly end of every connection."""

import asyncio
import contextlib
import logging
import socket
import struct
import sys
from asyncio.sslproto import _SSLProtocolTransport
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from uvicorn.protocols.utils import ClientDisconnected
from websockets.protocol import State

from echo.protocol import CUT_EXTENSION, CloseCode
from echo.servers.core import (
    ABNORMAL_CLOSURE,
    CLOSE_TIMEOUT_SECONDS,
    MAX_UNREAD_BYTES,
    MAX_UNREAD_MESSAGES,
    SHUTDOWN_SECONDS,
    PatientCore,
)
from echo.servers.guard import Guard
from echo.servers.heads import Refusal
from echo.servers.stalled import SWEEP_SECONDS, Stalled, Unread

# A client that has failed is quiet when nothing has come for so long.
QUIET_SECONDS = 0.5
SHUTTING_DOWN = "the server is shutting down: try again"


class ClosesOverTls:
    """A connection that closes only when what is on its way here does no harm."""

    transport: Any  # asyncio's or uvloop's
    quiet_timer: asyncio.TimerHandle | None = None

    def close_over_tls(self) -> None:
        """Closes; what is on its way here is read first, where it would do harm.

        uvloop reads on until the client's end of the stream. asyncio's TLS fails when
        anything else comes, and resets the connection: it is closed when all is quiet.
        """
        if not isinstance(self.transport, _SSLProtocolTransport):
            self.transport.close()
            return
        if self.quiet_timer is not None:
            self.quiet_timer.cancel()
        self.quiet_timer = asyncio.get_running_loop().call_later(
            QUIET_SECONDS, self.transport.close
        )


class FaithfulMethods(ClosesOverTls):
    """The methods that uvicorn's WebSocket protocol gets in the place of its own."""

    conn: PatientCore
    queue: asyncio.Queue[dict[str, Any]]
    writable: asyncio.Event
    handle_events: Callable[[], None]
    stock_send: Callable[[Any], Awaitable[None]]
    stock_shutdown: Callable[[], None]
    stock_send_500_response: Callable[[], None]
    stock_keepalive_timeout: Callable[[], None]
    stop_keepalive: Callable[[], None]
    handshake_complete: bool
    disconnected: bool
    read_paused: bool
    close_sent: bool
    close_timer: asyncio.TimerHandle | None
    pong_timer: asyncio.TimerHandle | None
    ping_timeout: float
    frames: list[bytes]
    curr_msg_data_type: str
    unread_bytes = 0
    turn_planned = False
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
                self.read_on()
        return event

    def data_received(self, data: bytes) -> None:
        """Takes a packet, and leaves the rest of one with many frames to the next turn."""
        if self.quiet_timer is not None:
            self.close_over_tls()
        self.conn.receive_data(data)
        self.handle_ending()
        self.give_way()
        early = 0 if self.handshake_complete else len(self.conn.reader.buffer)
        if early >= MAX_UNREAD_BYTES and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def give_way(self) -> None:
        """Reads no more before the rest of a packet has been parsed, a turn at a time."""
        if self.conn.turn_over and not self.transport.is_closing():
            if not self.read_paused:
                self.read_paused = True
                self.transport.pause_reading()
            if self.queue.empty() or self.close_sent:
                self.read_on()

    def read_on(self) -> None:
        """Reads on; what has been read and not parsed comes first, after the others' turn."""
        if not self.conn.turn_over:
            self.read_paused = False
            if self.writable.is_set():
                self.transport.resume_reading()
        elif not self.turn_planned:
            self.turn_planned = True
            asyncio.get_running_loop().call_soon(self.take_turn)

    def take_turn(self) -> None:
        self.turn_planned = False
        if not self.writable.is_set() or self.transport.is_closing():
            return
        self.conn.take_turn()
        self.handle_ending()
        if self.queue.empty() or self.close_sent:
            self.read_on()

    def eof_received(self) -> bool:
        """Answers what came before a half-close, then closes; uvicorn closes at once.

        True keeps the connection open, which TLS cannot.
        """
        if self.conn.state is not State.OPEN or not self.transport.can_write_eof():
            return False
        self.conn.receive_eof()
        if self.conn.held is None:
            self.handle_ending()
            return False
        return True

    def send_receive_event_to_app(self) -> None:
        """Queues a message, and reads on while few wait: uvicorn pauses for each one."""
        payload = bytes(self.frames.pop())  # the core has put its fragments together
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
                if self.close_sent and self.close_timer:  # uvicorn's own waits to flush
                    self.cut_in(CLOSE_TIMEOUT_SECONDS)
                    if self.conn.turn_over:
                        self.read_on()
                self.handle_ending()
                self.take_early_frames()
            return
        if not self.writable.is_set():
            await self.writable.wait()
            if self.conn.state is not State.OPEN:
                return
        if self.transport.is_closing():  # the client has gone without a close frame
            raise ClientDisconnected
        if (data := message.get("bytes")) is not None:
            self.conn.send_binary(data)
        else:
            self.conn.send_text(message["text"].encode())
        self.transport.write(b"".join(self.conn.data_to_send()))

    def take_early_frames(self) -> None:
        """Reads on after the handshake; what came before its answer comes first."""
        self.give_way()
        if self.read_paused and self.queue.empty() and not self.transport.is_closing():
            self.read_on()

    def shutdown(self) -> None:
        """Closes 1012, and waits for the answer, which would else meet a TCP reset."""
        if self.close_sent:
            self.stock_shutdown()
            self.cut_in(SHUTDOWN_SECONDS)
        elif not self.handshake_complete:
            self.refuse_for_shutdown()
        else:
            self.close_with(CloseCode.SERVICE_RESTART)

    def refuse_for_shutdown(self) -> None:
        """Answers a handshake that the application has not: with 503, as Daphne does."""
        self.close_sent = self.handshake_complete = True
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": ABNORMAL_CLOSURE}
        )
        self.transport.write(Refusal(503, SHUTTING_DOWN).encode())
        self.transport.close()
        self.cut_in(SHUTDOWN_SECONDS)

    def send_500_response(self) -> None:
        """What uvicorn does for an application that failed; an open connection gets 1011."""
        if self.transport.is_closing():
            return
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
        self.cut_in(SHUTDOWN_SECONDS)
        self.read_on()
        self.handle_ending()

    def cut_in(self, seconds: float) -> None:
        """Cut the connection then, if it has not ended: a close may wait to be read."""
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = asyncio.get_running_loop().call_later(
            seconds, self.transport.abort
        )

    def keepalive_timeout(self) -> None:
        """Waits on while the client is not read from: its pong could not be seen."""
        if self.read_paused or not self.writable.is_set():
            self.pong_timer = asyncio.get_running_loop().call_later(
                self.ping_timeout, self.keepalive_timeout
            )
        elif not self.close_sent and not self.transport.is_closing():
            self.stock_keepalive_timeout()
            self.cut_in(CLOSE_TIMEOUT_SECONDS)

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
            self.cut_in(CLOSE_TIMEOUT_SECONDS)
            self.close_over_tls()
            return
        self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is None:
            self.cut_in(CLOSE_TIMEOUT_SECONDS)

    def pause_writing(self) -> None:
        """A client that does not take what it is sent is not read from: pings cost too."""
        self.writable.clear()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable.set()
        if not self.read_paused:
            self.transport.resume_reading()
        elif self.queue.empty() or self.close_sent:
            self.read_on()


def reset(transport: asyncio.Transport) -> None:
    """Cuts a connection with a TCP reset, so that the kernel drops what it holds too."""
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    transport.abort()


async def cut_stalled(connections: Iterable[Any]) -> None:
    """Cuts connections, HTTP's too, whose client does not take what waits for it."""
    stalled = Stalled()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        transports = [protocol.transport for protocol in connections]
        stalled.sweep(
            Unread(
                transport=transport,
                socket=transport.get_extra_info("socket"),
                size=transport.get_write_buffer_size(),
                cut=partial(reset, transport),
            )
            for transport in transports
            if transport.get_write_buffer_size()
        )


def sweep_connections(server: Any) -> None:
    """Starts ``cut_stalled`` with each server; it ends with the server's event loop."""
    stock_startup = server.startup

    async def startup(self: Any, *arguments: Any, **options: Any) -> None:
        await stock_startup(self, *arguments, **options)
        connections = self.server_state.connections
        self.sweeping = asyncio.create_task(cut_stalled(connections), name="sweep")

    server.startup = startup


class GuardedMethods(ClosesOverTls):
    """The methods that uvicorn's HTTP protocols get in the place of their own."""

    client: tuple[str, int] | None
    cycle: Any  # the request that is being answered, or was
    flow: Any
    guard: Guard
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
            self.close_over_tls()
        self.guard.receive(data)
        if self.guard.reader.buffer:  # a head that is not whole has a deadline
            self._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        self.stock_on_response_complete()
        if not self.transport.is_closing():
            self.guard.answered()

    def send_400_response(self, message: str) -> None:
        """uvicorn's parser has found what the guard has not."""
        self.guard.refuse(Refusal(400, message))

    def shutdown(self) -> None:
        """Ends the connection, at the latest when its request is answered."""
        if self.guard.refused:
            self.transport.abort()
        elif self.guard.reader.in_body:  # which may never come
            self.guard.refuse(Refusal(503, SHUTTING_DOWN))
        else:
            self.stock_shutdown()

    # --- what the guard asks ------------------------------------------------------------

    def parse(self, data: bytes) -> None:
        self.stock_data_received(data)
        rest = self.guard.rest() if self.guard.upgraded else b""
        if rest and not self.transport.is_closing():
            self.transport.get_protocol().data_received(rest)

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


class OldClients:
    """The method that httptools' requests get, for clients that speak HTTP/1.0."""

    scope: dict[str, Any]
    chunked_encoding: bool | None
    expected_content_length: int
    stock_send: Callable[[Any], Awaitable[None]]
    ends_with_connection = False

    async def send(self, message: dict[str, Any]) -> None:
        """End a body of unknown length with the connection: HTTP/1.0 has no chunks."""
        if message["type"] == "http.response.start":
            names = [name.lower() for name, _ in message.get("headers", ())]
            if self.scope["http_version"] == "1.0" and b"content-length" not in names:
                self.ends_with_connection = True
                self.chunked_encoding = False
        elif self.ends_with_connection:  # so much is as long as it should be
            self.expected_content_length = len(message.get("body", b""))
        await self.stock_send(message)


def let_cut(protocol: Any) -> None:
    """Gives an application the means to cut its connection.

    uvicorn only closes, and a transport that is closed waits for a client that does not
    read, for ever.
    """
    stock_run_asgi = protocol.run_asgi

    def run_asgi(self: Any, *application: Any) -> Any:
        self.scope.setdefault("extensions", {})[CUT_EXTENSION] = self.transport.abort
        return stock_run_asgi(self, *application)

    protocol.run_asgi = run_asgi


# What is replaced here, or called by what replaces it. uvicorn sets the attributes that
# are no methods in its constructors.
HTTP_METHODS = (
    "connection_made",
    "connection_lost",
    "data_received",
    "on_response_complete",
    "send_400_response",
    "shutdown",
    "_unset_keepalive_if_required",
)
HTTP_ATTRIBUTES = ("client", "cycle", "flow", "transport")
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
    "stop_keepalive",
)
WEBSOCKET_ATTRIBUTES = (
    "ServerProtocol",  # the name that the constructor looks up
    "close_sent",
    "close_timer",
    "conn",
    "curr_msg_data_type",
    "disconnected",
    "frames",
    "handshake_complete",
    "ping_timeout",
    "pong_timer",
    "queue",
    "read_paused",
    "transport",
    "writable",
)
CYCLE_ATTRIBUTES = (
    "disconnected",
    "message_event",
    "response_complete",
    "response_started",
    "scope",
    "transport",
)
REMEDY = "install the versions in requirements.txt, or start `python -m echo.servers`"


class UnknownUvicorn(Exception):
    """This uvicorn is not the one that the methods here were written for."""


def require(kind: type, methods: Iterable[str], attributes: Iterable[str]) -> None:
    """Raise UnknownUvicorn unless the class has the methods, and sets the attributes."""
    missing = [name for name in methods if not callable(getattr(kind, name, None))]
    known = kind.__init__.__code__.co_names  # type: ignore[misc]
    missing += [name for name in attributes if name not in known]
    if missing:
        raise UnknownUvicorn(
            f"expected uvicorn's {kind.__module__}.{kind.__name__} to have "
            f"{', '.join(missing)}, got uvicorn {version('uvicorn')} without: {REMEDY}"
        )


def replace_methods(kind: type, methods: type) -> None:
    """Put the methods in the place of the class's own, which are kept as stock_…."""
    inherited = vars(ClosesOverTls) if issubclass(methods, ClosesOverTls) else {}
    for name, value in [*inherited.items(), *vars(methods).items()]:
        if name.startswith("__"):
            continue
        if hasattr(kind, name):
            setattr(kind, f"stock_{name}", getattr(kind, name))
        setattr(kind, name, value)


def make_uvicorn_faithful() -> None:
    """Gives uvicorn's protocols the same core and guard, whatever options it started with.

    uvicorn imports the application before it listens, and has no setting for any of this:
    the names that it looks up for each connection are the seam. Under another server a
    uvicorn that cannot be changed does no harm.
    """
    runs = "uvicorn.server" in sys.modules
    try:
        change_uvicorn()
    except (UnknownUvicorn, ImportError) as error:
        if runs:
            sys.exit(f"uvicorn would run without this site's rules: {error}")
        logging.getLogger(__name__).warning("uvicorn cannot serve this site: %s", error)


def change_uvicorn() -> None:
    """Replace what has to be replaced, when all of it is there."""
    from uvicorn.protocols.http.flow_control import FlowControl
    from uvicorn.protocols.websockets import websockets_sansio_impl as uvicorn
    from uvicorn.server import Server

    def core(*, max_size: int, **options: Any) -> PatientCore:
        return PatientCore(max_size=settings.ECHO_MAX_MESSAGE_BYTES, **options)

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
    replace_methods(protocol, FaithfulMethods)
    let_cut(protocol)
    for kind, cycle in modules:
        replace_methods(kind, GuardedMethods)
        let_cut(cycle)
        if cycle.__module__.endswith("httptools_impl"):  # h11 sees to it itself
            replace_methods(cycle, OldClients)
    sweep_connections(Server)
    check_at_start(Server, protocol, tuple(kind for kind, _ in modules))
    # uvicorn takes a refusal with a status of its own for no answer, and logs an error.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: (
            record.msg != "ASGI callable returned without completing handshake."
        )
    )


def http_modules() -> list[tuple[type, type]]:
    """Return uvicorn's HTTP protocols and their requests; httptools need not be there."""
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
    """Let uvicorn start only with protocols that have been changed here."""
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
