"""This process's one channel of the channel layer, in the group of all nodes of its log."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from channels.layers import get_channel_layer

from echo.feed.doorbell import Message, group_name, reaches_others
from echo.feed.history import History

logger = logging.getLogger("echo.feed")

# Longer than a healthy layer takes for a message.
SEND_TIMEOUT_SECONDS = 1.0
# Three pulses of this node's own that did not come back: the layer is down.
SILENCE_SECONDS = 3.5


class Channel:
    """Sends to the group of the log's present life, and receives from it."""

    def __init__(self, history: History, clock: Callable[[], float]) -> None:
        # Its head's epoch names the group.
        self.history = history
        # In seconds, monotonic.
        self.clock = clock
        # The site's; None if it has none.
        self.layer = get_channel_layer()
        # False for a layer in memory.
        self.reaches_others = reaches_others(self.layer)
        # The channel of this process; None while it has none.
        self.name: str | None = None
        # The group that the channel is in; None while it is in none.
        self.joined: str | None = None
        # Held while the channel moves from one group to another.
        self.moving = asyncio.Lock()
        # When the last message came, whose ever it was.
        self.received_at = clock()
        # False once nothing has come for SILENCE_SECONDS.
        self.is_up = True

    @property
    def state(self) -> str:
        """Return "none" when no other process can be reached, else "up" or "down"."""
        if not self.reaches_others:
            return "none"
        return "up" if self.is_up else "down"

    @property
    def group(self) -> str:
        """Return the group of the log's present life."""
        return group_name(self.history.head.epoch)

    async def open(self) -> None:
        """Make the channel and join the group."""
        self.name = await self.layer.new_channel("feed")
        await self.follow_log()

    async def close(self) -> None:
        """Leave the group, as far as the layer lets it."""
        name, joined, self.name, self.joined = self.name, self.joined, None, None
        if name is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                # Also one that could not be joined: channels_redis.pubsub notes the member
                # first, and would queue every message for it from then on.
                for group in {joined or self.group, self.group}:
                    await self.layer.group_discard(group, name)

    async def follow_log(self) -> None:
        """Join the group of the log's present life; no-op when this node is in it.

        Nodes that have not seen the new life yet are made to look, and follow.
        """
        # With a timeout: the caller sends the pulses, and has to notice a layer that hangs.
        async with self.moving, asyncio.timeout(SEND_TIMEOUT_SECONDS):
            name, before, after = self.name, self.joined, self.group
            if name is None or before == after:
                return
            await self.layer.group_add(after, name)
            if self.name != name:  # closed meanwhile
                await self.layer.group_discard(after, name)
                return
            self.joined = after
            if before is not None:
                await self.layer.group_send(before, {"type": "feed.look"})
                await self.layer.group_discard(before, name)

    async def send(self, message: Message) -> None:
        """Send a message to all nodes, this one included."""
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await self.layer.group_send(self.group, message)

    async def receive(self) -> Message:
        """Return the next message of the group."""
        message: Message = await self.layer.receive(self.name)
        return message

    def note_received(self) -> bool:
        """Note that a message has come; return True if the layer had been down."""
        self.received_at = self.clock()
        if self.is_up:
            return False
        logger.info("the channel layer is back")
        self.is_up = True
        return True

    def check(self) -> None:
        """Take the layer for down when nothing has come for long, and warn of it."""
        if self.is_up and self.clock() - self.received_at > SILENCE_SECONDS:
            self.is_up = False
            logger.warning(
                "the channel layer is silent: events are found in the log, a second "
                "late at most"
            )
