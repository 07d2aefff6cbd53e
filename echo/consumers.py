"""The echo: a WebSocket consumer that gives back exactly what it got.

The first file to open for somebody new to Channels. A consumer is an ASGI application
with a class around it: ``connect`` answers the handshake, and ``echo`` is the
conversation, which reads with ``receive()`` and answers with ``send()``.
"""

import asyncio
import json
import logging
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from echo.handshake import describe, refuse
from echo.knobs import KnobError, Knobs
from echo.limits import ConnectionLimits
from echo.messages import Ending, log_received, logger, too_big
from echo.misbehave import Misbehaviour
from echo.protocol import TooMany

open_connections = ConnectionLimits("ECHO")


class EchoConsumer(AsyncWebsocketConsumer):
    """One echo connection, as faithful or as misbehaving as its query string asks.

    Channels' own ``__call__`` dispatches each message to a handler: a thread hop to close
    old database connections and a task for each message, about 50 µs. An echo has no
    database and no channel layer, so it reads ``receive()`` in a plain loop instead, which
    costs under 1 µs and lets a client that does not read hold back nobody but itself.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive_event, self.base_send = scope, receive, send
        await receive()  # websocket.connect: the server waits for an answer
        client = scope["client"]  # None on a Unix socket
        try:
            with open_connections.connection(client[0] if client else ""):
                await self.converse()
        except TooMany as error:
            await refuse(send, error.status, str(error), error.retry_after_seconds)

    async def converse(self) -> None:
        """The whole life of a connection: the handshake, the echoes, and the close."""
        if not await self.connect():
            return
        ending = await (self.echo() if self.knobs.faithful else self.misbehave())
        if ending is not None:
            await self.close(*ending)

    async def connect(self) -> bool:
        """Answers the handshake; True when the connection is open."""
        try:
            self.knobs = Knobs.from_query(
                self.scope["query_string"],
                max_message_size=settings.ECHO_MAX_MESSAGE_BYTES,
            )
        except KnobError as error:
            await refuse(self.base_send, 400, str(error))
            return False
        if self.knobs.hang and await self.client_leaves_within(self.knobs.hang):
            return False
        self.chance = self.knobs.randomness()
        if status := self.knobs.refusal(self.chance):
            await refuse(self.base_send, status, "refused, as the query string asks")
            return False
        subprotocol = self.knobs.select_subprotocol(self.scope["subprotocols"])
        await self.accept(subprotocol)
        if self.knobs.handshake:
            seen = describe(self.scope) | {
                "subprotocol": subprotocol,
                "settings": self.knobs.as_json(),
            }
            await self.send(json.dumps(seen, ensure_ascii=False))
        return True

    async def client_leaves_within(self, seconds: float) -> bool:
        """Holds the handshake back; True when the client has gone meanwhile."""
        try:
            await asyncio.wait_for(self.receive_event(), seconds)
        except TimeoutError:
            return False
        return True

    async def echo(self) -> Ending | None:
        """Gives each message back until the client has gone, or sent one that is too big.

        The next message is read only when this one has been handed to the server, whose
        ``send`` waits while the client does not read: memory stays bounded.
        """
        receive, send = self.receive_event, self.base_send
        limit = self.knobs.max_message_size
        logging_messages = logger.isEnabledFor(logging.INFO)
        while (event := await receive())["type"] == "websocket.receive":
            text = event.get("text")
            payload = event["bytes"] if text is None else text
            if logging_messages:
                log_received(payload)
            if verdict := too_big(payload, limit):
                return verdict
            key = "bytes" if text is None else "text"
            await send({"type": "websocket.send", key: payload})
        return None

    async def misbehave(self) -> Ending | None:
        """The same under knobs that delay, close, drop, mute or limit."""
        return await Misbehaviour(
            self.knobs, self.chance, self.receive_event, self.base_send
        ).run()
