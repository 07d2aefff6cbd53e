"""uvicorn made faithful: the same core, and an orderly end of every connection."""

import asyncio
import contextlib
import logging
import socket
import struct
from asyncio.sslproto import _SSLProtocolTransport
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
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
from echo.servers.stalled import SWEEP_SECONDS, Stalled, Unread

# A client that has failed is quiet when nothing has come for so long.
QUIET_SECONDS = 0.5


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
    quiet_timer: asyncio.TimerHandle | None = None

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

    def shutdown(self) -> None:
        """Closes 1012, and waits for the answer, which would else meet a TCP reset."""
        if self.close_sent or not self.handshake_complete:
            self.stock_shutdown()
            self.cut_in(SHUTDOWN_SECONDS)
            return
        self.close_with(CloseCode.SERVICE_RESTART)

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


def let_cut(protocol: Any) -> None:
    """Gives an application the means to cut its connection.

    uvicorn only closes, and a transport that is closed waits for a client that does not
    read, for ever.
    """
    stock_run_asgi = protocol.run_asgi

    def run_asgi(self: Any, *application: Any) -> Any:
        self.scope.setdefault("extensions", {})[CUT_EXTENSION] = self.transport.abort
        if on_response := getattr(self, "on_response", None):  # of the HTTP protocol
            on_response.__self__.answering = self
        return stock_run_asgi(self, *application)

    protocol.run_asgi = run_asgi


def end_answers(protocol: Any) -> None:
    """Tells the application that is answering that its client has gone.

    uvicorn tells the one whose request came last: of several in one packet, that is not
    the one that is being answered, which would write to a closed transport.
    """
    stock_connection_lost = protocol.connection_lost

    def connection_lost(self: Any, error: Exception | None) -> None:
        answering = getattr(self, "answering", None)
        if answering is not None and not answering.response_complete:
            answering.disconnected = True
            answering.message_event.set()
        stock_connection_lost(self, error)

    protocol.connection_lost = connection_lost


def make_uvicorn_faithful() -> None:
    """Gives uvicorn's WebSocket protocol the same core, whatever options it started with.

    uvicorn imports the application before it listens, and has no setting for any of this:
    the names that it looks up for each connection are the seam. The contract tests hold it
    against a new version.
    """
    from uvicorn.protocols.http import h11_impl, httptools_impl
    from uvicorn.protocols.websockets import websockets_sansio_impl as uvicorn
    from uvicorn.server import Server

    def core(*, max_size: int, **options: Any) -> PatientCore:
        return PatientCore(max_size=settings.ECHO_MAX_MESSAGE_BYTES, **options)

    uvicorn.ServerProtocol = core  # type: ignore[misc, assignment]
    protocol: Any = uvicorn.WebSocketsSansIOProtocol
    for name in ("send", "shutdown", "send_500_response", "keepalive_timeout"):
        setattr(protocol, f"stock_{name}", getattr(protocol, name))
    for name, value in vars(FaithfulMethods).items():
        if not name.startswith("__"):
            setattr(protocol, name, value)
    for kind in (
        protocol,
        h11_impl.RequestResponseCycle,
        httptools_impl.RequestResponseCycle,
    ):
        let_cut(kind)
    end_answers(h11_impl.H11Protocol)
    end_answers(httptools_impl.HttpToolsProtocol)
    sweep_connections(Server)
    # uvicorn takes a refusal with a status of its own for no answer, and logs an error.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: (
            record.msg != "ASGI callable returned without completing handshake."
        )
    )
