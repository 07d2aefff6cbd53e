"""The WebSocket URLs: what Django's urls.py is for HTTP."""

from django.urls import path, re_path

from echo.consumers import EchoConsumer
from echo.handshake import not_found
from echo.transports.websocket import FeedConsumer

websocket_urlpatterns = [
    path("echo", EchoConsumer.as_asgi()),
    path("feed/ws", FeedConsumer.as_asgi()),
    re_path("", not_found),
]
