"""What is routed beside Django's urls.py: WebSockets, and the feed's HTTP."""

from django.urls import path, re_path

from echo.consumers import EchoConsumer
from echo.handshake import not_found
from echo.transports.poll import PollConsumer
from echo.transports.publish import PublishConsumer
from echo.transports.sse import SseConsumer
from echo.transports.websocket import FeedConsumer

websocket_urlpatterns = [
    path("echo", EchoConsumer.as_asgi()),
    path("feed/ws", FeedConsumer.as_asgi()),
    re_path("", not_found),
]

# Streams and polls live long, and Django keeps a thread for each request.
http_urlpatterns = [
    path("feed/sse", SseConsumer.as_asgi()),
    path("feed/poll", PollConsumer.as_asgi()),
    path("feed/publish", PublishConsumer.as_asgi()),
]
