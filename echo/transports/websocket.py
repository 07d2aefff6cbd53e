"""Carries the feed over a WebSocket, one message a frame; knows no log, no Redis."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError

from echo.feed import (
    Connection,
    Frame,
    Subscription,
    count_deliveries,
    find_reader,
    split_frames,
    subscribe,
    websocket_chunk,
)
from echo.handshake import refuse
from echo.protocol import (
    LOG_RETRY_SECONDS,
    LOG_UNREACHABLE,
    CloseCode,
    FeedError,
    FeedQuery,
)

logger = logging.getLogger("echo.feed")


class FeedConsumer(AsyncWebsocketConsumer):
    """One reader's WebSocket: sends the subscription's frames, and accepts no messages.

    Reads ``receive()`` in a plain loop, for the same reason as the echo. It needs no channel
    of its own: the node has one, see feed/cluster/channel.py.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.base_send = scope, send
        await receive()  # websocket.connect
        try:
            subscription = await self.open_subscription()
        except FeedError as error:
            return await refuse(
                send, error.status, str(error), error.retry_after_seconds
            )
        except DatabaseError:
            return await refuse(send, 503, LOG_UNREACHABLE, LOG_RETRY_SECONDS)
        try:
            await self.carry(subscription, receive)
        finally:
            subscription.close()

    async def open_subscription(self) -> Subscription:
        query = FeedQuery.parse(self.scope["query_string"].decode("latin-1"))
        subscription = await subscribe(
            query,
            await find_reader(self.scope["headers"]),
            Connection.of(self.scope, "websocket"),
            settings.FEED_HEARTBEAT_SECONDS,
        )
        subscription.expire_in(
            settings.FEED_WEBSOCKET_LIFETIME_SECONDS * random.uniform(0.8, 1)
        )
        return subscription

    async def carry(self, subscription: Subscription, receive: Any) -> None:
        """Run a writer until the client disconnects or the subscription ends."""
        await self.accept()
        writing = asyncio.create_task(self.write(subscription), name="feed writer")
        try:
            while (await receive())["type"] != "websocket.disconnect":
                subscription.end(CloseCode.BAD_REQUEST, "the feed takes no messages")
        except asyncio.CancelledError:  # the server is stopping
            retry_seconds = random.uniform(0.5, 5)
            subscription.end(CloseCode.SHUTDOWN, "shutdown", retry_seconds)
            await asyncio.wait([writing], timeout=1)
            raise
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def write(self, subscription: Subscription) -> None:
        """Send frames when they are due, and close after the last."""
        send = self.base_send
        try:
            await send((await subscription.hello()).message)
            subscription.encode = websocket_chunk
            while not subscription.is_over:
                for frames in split_frames(await subscription.next()):
                    if subscription.rights_changed or not subscription.write_chunk(
                        websocket_chunk(frames)
                    ):
                        await self.send_slowly(subscription, frames)
            assert subscription.bye is not None
            bye = subscription.bye.fields
            await self.close(bye["code"], bye["reason"])
        except OSError:  # the client has gone; `receive` returns a disconnect too
            pass
        except Exception:
            logger.exception("feed: a writer failed")
            with contextlib.suppress(Exception):
                await self.close(CloseCode.INTERNAL_ERROR)

    async def send_slowly(
        self, subscription: Subscription, frames: Sequence[Frame]
    ) -> None:
        """Send frames one by one; the server's ``send`` waits for a slow client.

        Such a client gets a frame long after it was due: its rights are checked again.
        """
        for frame in frames:
            if not subscription.rights_changed or await subscription.may_send(frame):
                count_deliveries((frame,))
                await self.base_send(frame.message)
