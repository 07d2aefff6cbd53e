"""Channel layers that fail on purpose, named by the settings beside them."""

import asyncio
import os
import random
import signal
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer

DROPPED = 0.3
MAX_DELAY_SECONDS = 0.3


class UnreliableLayer(RedisPubSubChannelLayer):
    """Drops 30 % of the doorbells, and delays the others so that they come out of order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.random = random.Random(1)
        self.delayed: set[asyncio.Task[None]] = set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if message["type"] != "feed.events":
            await self._get_layer().group_send(group, message)
        elif self.random.random() >= DROPPED:
            task = asyncio.create_task(self.send_later(group, message))
            self.delayed.add(task)
            task.add_done_callback(self.delayed.discard)

    async def send_later(self, group: str, message: dict[str, Any]) -> None:
        await asyncio.sleep(self.random.uniform(0, MAX_DELAY_SECONDS))
        await self._get_layer().group_send(group, message)


class DeadlyLayer(RedisPubSubChannelLayer):
    """Kills its process, as ``kill -9`` does, when a doorbell is about to ring."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if message["type"] == "feed.events":
            os.kill(os.getpid(), signal.SIGKILL)
        await self._get_layer().group_send(group, message)
