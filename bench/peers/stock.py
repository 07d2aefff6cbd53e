"""What Channels' documentation has: an echo, and a broadcast to a group."""

import os
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

LAYERS: dict[str, dict[str, Any]] = {
    "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    "pubsub": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ.get("REDIS_URL")]},
    },
    "core": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [os.environ.get("REDIS_URL")]},
    },
}

if not settings.configured:
    layer = os.environ.get("BENCH_LAYER")  # none: the echo needs no layer
    settings.configure(CHANNEL_LAYERS={"default": LAYERS[layer]} if layer else {})


class StockEcho(AsyncWebsocketConsumer):
    """Sends back what it receives."""

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        await self.send(text_data=text_data, bytes_data=bytes_data)


class StockReader(AsyncWebsocketConsumer):
    """Gets what is published."""

    async def connect(self) -> None:
        await self.channel_layer.group_add("everybody", self.channel_name)
        await self.accept()

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


class StockPublisher(AsyncWebsocketConsumer):
    """Sends each message to all readers."""

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        await self.channel_layer.group_send(
            "everybody", {"type": "said", "text": text_data}
        )


application = ProtocolTypeRouter(
    {
        "websocket": URLRouter(
            [
                path("echo", StockEcho.as_asgi()),
                path("publish", StockPublisher.as_asgi()),
                path("", StockReader.as_asgi()),
            ]
        )
    }
)
