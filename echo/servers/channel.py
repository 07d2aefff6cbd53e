"""Daphne's side of a guarded connection: Twisted's HTTP channel behind the guard."""

from typing import Any

import daphne.server  # noqa: F401 (first: it installs the reactor)
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import HTTPChannel

from echo.servers.guard import Guard
from echo.servers.heads import MAX_HEAD_BYTES, MAX_HEADERS, Refusal

# Daphne takes this one from anybody, and its value for the site's root path.
ROOT_PATH_HEADER = b"daphne-root-path"


class GuardedChannel(HTTPChannel):
    """Twisted's parser, which gets whole heads that have been judged.

    Its own limits would answer with a bare 400, so they lie beyond the guard's.
    """

    MAX_LENGTH = 2 * MAX_HEAD_BYTES
    totalHeadersSize = 2 * MAX_HEAD_BYTES
    maxHeaders = 2 * MAX_HEADERS
    factory: Any
    transport: Any
    guard: Guard

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
            self.guard.answered()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.guard.refuse(Refusal(400, "expected an HTTP request that can be parsed"))

    # --- what the guard asks ------------------------------------------------------------

    def parse(self, data: bytes) -> None:
        super().dataReceived(data)
        if self.guard.upgraded and (rest := self.guard.rest()):
            # Daphne has put the WebSocket's protocol in this one's place.
            wrapped = getattr(self.transport, "wrappedProtocol", None)
            receiver = wrapped or self.transport.protocol
            if receiver is not self:
                receiver.dataReceived(rest)

    def answer_has_begun(self) -> bool:
        """False: the application runs only when the body is whole."""
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
