"""Puts the guard in front of Twisted's HTTP channel, for Daphne."""

from typing import Any

import daphne.server  # noqa: F401 (first: it installs the reactor)
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import HTTPChannel

from echo.servers.guard import Guard
from echo.servers.heads import MAX_HEAD_BYTES, MAX_HEADERS, Head, Refusal

# Daphne takes the site's root path from this header, even if a client sends it.
ROOT_PATH_HEADER = b"daphne-root-path"


class GuardedChannel(HTTPChannel):
    """Twisted's HTTP parser, which gets only whole heads that the guard has checked.

    Its own limits are set beyond the guard's, because it answers them with a bare 400.
    """

    MAX_LENGTH = 2 * MAX_HEAD_BYTES
    totalHeadersSize = 2 * MAX_HEAD_BYTES
    maxHeaders = 2 * MAX_HEADERS
    factory: Any  # Daphne's HTTP factory
    transport: Any  # Twisted's
    guard: Guard  # from connectionMade on

    def connectionMade(self) -> None:
        self.timeOut = None  # the guard has deadlines of its own
        super().connectionMade()
        behind_proxy = self.factory.server.proxy_forwarded_address_header
        self.guard = Guard(self, *(() if behind_proxy else (ROOT_PATH_HEADER,)))

    def dataReceived(self, data: bytes) -> None:
        self.guard.receive(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.guard.stop()
        super().connectionLost(reason)

    def requestDone(self, request: Any) -> None:
        super().requestDone(request)
        if self.persistent:
            self.guard.response_sent()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.guard.refuse(Refusal(400, "expected an HTTP request that can be parsed"))

    # --- GuardedConnection --------------------------------------------------------------

    def parse(self, data: bytes) -> None:
        super().dataReceived(data)

    def upgrade(self, head: Head, early: bytes) -> None:
        """Give the transport to a WebSocket, without Twisted's parser and Daphne's request."""
        transport = self.transport
        websocket = self.factory.server.ws_factory.buildProtocol(transport.getPeer())
        if isinstance(transport, ProtocolWrapper):  # TLS
            transport.wrappedProtocol = websocket
        else:
            transport.protocol = websocket
        # Each refers to the other, and would wait for the garbage collector.
        del self.guard
        websocket.makeConnection(transport)
        websocket.open(head)
        if early:
            websocket.dataReceived(early)

    def answer_has_begun(self) -> bool:
        """Return False: the application runs only when the body is whole."""
        return False

    def end(self, response: bytes) -> None:
        self.transport.write(response)
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        if isinstance(self.transport, ProtocolWrapper):  # TLS has no half-close
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def close(self) -> None:
        self.loseConnection()

    def cut(self) -> None:
        self.transport.abortConnection()

    def pause(self) -> None:
        self._networkProducer.pauseProducing()

    def peer(self) -> str:
        peer = self.transport.getPeer()
        return f"{peer.host}:{peer.port}" if hasattr(peer, "port") else "-"
