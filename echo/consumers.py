"""The echo: a WebSocket consumer that sends back exactly what it receives.

The first file to read if Channels is new to you. A consumer is an ASGI application
written as a class: ``connect`` answers the handshake, and ``echo`` is the loop that reads
with ``receive()`` and answers with ``send()``.
"""

import asyncio
import json
import logging
from random import Random
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from echo.handshake import describe, refuse
from echo.knobs import KnobError, Knobs
from echo.limits import ConnectionLimits
from echo.messages import CloseFrame, log_received, logger, size_violation
from echo.misbehave import Misbehaviour
from echo.protocol import TooMany

# Of this process, for ECHO_MAX_CONNECTIONS and ECHO_MAX_CONNECTIONS_PER_ADDRESS.
open_connections = ConnectionLimits("ECHO")


class EchoConsumer(AsyncWebsocketConsumer):
    """One echo connection, with the misbehaviour that its query string asks for.

    Channels' own ``__call__`` dispatches each message to a handler: a thread hop to close
    old database connections and a task for each message, about 50 µs. An echo has no
    database and no channel layer, so it reads ``receive()`` in a plain loop instead, which
    costs under 1 µs, and a client that does not read holds up only its own connection.
    """

    knobs: Knobs  # the settings in the query string
    random: Random  # decides a refusal by failure_rate, and the jitter

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive_event, self.base_send = scope, receive, send
        await receive()  # websocket.connect: the server waits for an answer
        client = scope["client"]  # None on a Unix socket
        try:
            with open_connections.connection(client[0] if client else ""):
                await self.serve()
        except TooMany as error:
            await refuse(send, error.status, str(error), error.retry_after_seconds)

    async def serve(self) -> None:
        """Answer the handshake, echo messages, and close."""
        if not await self.connect():
            return
        echo = self.echo if self.knobs.is_faithful else self.misbehave
        if (close_frame := await echo()) is not None:
            await self.close(*close_frame)

    async def connect(self) -> bool:
        """Answer the handshake; return True if the connection is open."""
        try:
            self.knobs = Knobs.from_query(
                self.scope["query_string"],
                max_message_size=settings.ECHO_MAX_MESSAGE_BYTES,
            )
        except KnobError as error:
            await refuse(self.base_send, 400, str(error))
            return False
        if self.knobs.hang and await self.disconnects_within(self.knobs.hang):
            return False
        self.random = self.knobs.random_generator()
        if status := self.knobs.refusal(self.random):
            await refuse(self.base_send, status, "refused, as the query string asks")
            return False
        subprotocol = self.knobs.select_subprotocol(self.scope["subprotocols"])
        await self.accept(subprotocol)
        if self.knobs.handshake:
            await self.describe_handshake(subprotocol)
        return True

    async def describe_handshake(self, subprotocol: str | None) -> None:
        """Send the first message of ``handshake=1``."""
        seen = describe(self.scope) | {
            "subprotocol": subprotocol,
            "settings": self.knobs.as_json(),
        }
        await self.send(json.dumps(seen, ensure_ascii=False))

    async def disconnects_within(self, seconds: float) -> bool:
        """Delay the handshake; return True if the client has gone meanwhile."""
        try:
            await asyncio.wait_for(self.receive_event(), seconds)
        except TimeoutError:
            return False
        return True

    async def echo(self) -> CloseFrame | None:
        """Echo each message until the client has gone, or has sent one that is too big.

        The next message is read only after ``send``, which waits while the client does not
        read: memory stays bounded.
        """
        receive, send = self.receive_event, self.base_send
        limit = self.knobs.max_message_size
        logging_messages = logger.isEnabledFor(logging.INFO)
        while (event := await receive())["type"] == "websocket.receive":
            text = event.get("text")
            payload = event["bytes"] if text is None else text
            if logging_messages:
                log_received(payload)
            if violation := size_violation(payload, limit):
                return violation
            key = "bytes" if text is None else "text"
            await send({"type": "websocket.send", key: payload})
        return None

    async def misbehave(self) -> CloseFrame | None:
        """Echo under knobs that delay, close, drop, mute or limit."""
        return await Misbehaviour(
            self.knobs, self.random, self.receive_event, self.base_send
        ).run()
