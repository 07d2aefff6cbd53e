"""Reports every byte of a WebSocket as it comes, in both directions, on either server.

Only a connection that is tapped has any of this: its receiving method and its transport are
replaced on the object itself. Any other connection runs as if there were no taps.
"""

import time
from collections.abc import Callable
from typing import Any

from echo.protocol import REDACTED_HEADERS, TAP_EXTENSION, TapSink
from echo.servers.heads import Head

HEAD_END = b"\r\n\r\n"
# Set-Cookie is the response's. Names in lower case.
SECRET_HEADERS = frozenset(name.encode() for name in REDACTED_HEADERS) | {b"set-cookie"}


def redacted_head(head: bytes) -> bytes:
    """Return the head of a request or a response with its secrets replaced."""
    first, *lines = head.split(b"\r\n")
    shown = [first]
    for line in lines:
        name, colon, _ = line.partition(b":")
        is_secret = name.strip().lower() in SECRET_HEADERS
        shown.append(name + colon + b" [redacted]" if is_secret else line)
    return b"\r\n".join(shown)


class TappedTransport:
    """A transport that reports what is written to it; all else is the transport's own."""

    def __init__(self, transport: Any, report: Callable[[bytes], None]) -> None:
        self.transport = transport  # the server's
        self.report = report  # takes bytes in the order in which they are sent

    # The servers close a connection over TLS in another way, and know it by `isinstance`.
    @property
    def __class__(self) -> type:
        return type(self.transport)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        self.report(bytes(data))
        self.transport.write(data)

    def writeSomeData(self, data: bytes) -> Any:
        """Write what the socket takes, and return how much: Twisted's, see ``write_now``."""
        sent = self.transport.writeSomeData(data)
        if isinstance(sent, int) and sent > 0:
            self.report(bytes(data[:sent]))
        return sent


class Tap:
    """The tap of one connection: gives a sink each chunk of bytes with its sender and time."""

    def __init__(self, protocol: Any, receive: str, sink: TapSink) -> None:
        self.protocol = protocol  # the server's, of the tapped connection
        self.receive = receive  # the name of its method that takes the client's bytes
        self.sink = sink  # of the application
        # The beginning of the response's head; None once that is whole.
        self.response: bytes | None = b""

    def start(self, request: bytes, early: bytes) -> None:
        """Report the request and the frames that came with it, and then all that follows."""
        self.sink("client", redacted_head(request), time.monotonic())
        if early:
            self.sink("client", early, time.monotonic())
        protocol = self.protocol
        stock_receive = getattr(protocol, self.receive)

        def receive(data: bytes) -> None:
            self.sink("client", bytes(data), time.monotonic())
            stock_receive(data)

        setattr(protocol, self.receive, receive)
        protocol.transport = TappedTransport(protocol.transport, self.report_sent)
        self.renew_callbacks()

    def stop(self) -> None:
        """Report no more; no-op if the tap has been stopped."""
        transport = vars(self.protocol).get("transport")
        if type(transport) is TappedTransport:
            self.protocol.transport = vars(transport)["transport"]
            delattr(self.protocol, self.receive)
            self.renew_callbacks()

    def renew_callbacks(self) -> None:
        """Have the event loop look up the protocol's methods again: uvloop keeps them."""
        set_protocol = getattr(self.protocol.transport, "set_protocol", None)
        if set_protocol is not None and not self.protocol.transport.is_closing():
            set_protocol(self.protocol)

    def report_sent(self, data: bytes) -> None:
        """Report bytes that the server sends, the response's head first and by itself."""
        if self.response is not None:
            head, end, data = (self.response + data).partition(HEAD_END)
            if not end:
                self.response = head
                return
            self.response = None
            self.sink("server", redacted_head(head + end), time.monotonic())
        if data:
            self.sink("server", data, time.monotonic())


def offer_tap(
    scope: dict[str, Any], protocol: Any, core: Any, receive: str, head: Head
) -> None:
    """Add TAP_EXTENSION to the scope of a connection that may be tapped.

    ``receive`` is the name of the protocol's method that takes the client's bytes.
    """

    def tap(sink: TapSink) -> Callable[[], None]:
        tapped = Tap(protocol, receive, sink)
        # What arrives before the handshake is answered waits in the core's buffer.
        tapped.start(head.raw, bytes(core.reader.buffer))
        return tapped.stop

    scope["extensions"][TAP_EXTENSION] = tap
