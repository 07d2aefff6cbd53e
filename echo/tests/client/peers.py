"""Other servers to test the client against, valid and invalid."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from websockets.sync.server import ServerConnection, serve
from websockets.utils import accept_key


@contextmanager
def library_server(
    handler: Callable[[ServerConnection], None], tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Run a server of the ``websockets`` library with this handler; yield its address."""
    with serve(handler, "127.0.0.1", 0, ssl=tls) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "127.0.0.1:{}".format(*server.socket.getsockname()[1:])
        finally:
            server.shutdown()
            thread.join()


class RawServer:
    """Answers each handshake with prepared bytes.

    Then it reads until the client disconnects, disconnects, or ignores the client.
    """

    def __init__(
        self,
        answer: Callable[[bytes], bytes],
        then: Literal["reads", "leaves", "ignores"] = "reads",
    ) -> None:
        self._answer = answer
        self._then = then
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.address = "127.0.0.1:{}".format(*self._listener.getsockname()[1:])
        self.request = b""
        self.frames = b""

    def __enter__(self) -> "RawServer":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        self.request = self.frames = b""
        while b"\r\n\r\n" not in self.request:
            if not (data := connection.recv(65536)):
                return
            self.request += data
        connection.sendall(self._answer(self.request))
        if self._then == "ignores":
            self._ended.wait()
        with suppress(ConnectionResetError):
            while self._then == "reads" and (data := connection.recv(65536)):
                self.frames += data


def switching(request: bytes) -> bytes:
    """Return the valid response to a handshake."""
    head = request.decode().split("\r\n\r\n")[0]
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    accept = accept_key(headers["Sec-WebSocket-Key"])
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()
