"""The routes of Channels: WebSockets, and the feed's HTTP; urls.py has Django's."""

from typing import Any

from django.urls import path, re_path

from echo.consumers import EchoConsumer
from echo.handshake import not_found
from echo.lab.heads import tell_head
from echo.lab.slow import slow
from echo.lab.stock import stock
from echo.lab.tap import tapped_echo, view_tap
from echo.protocol import TAP_PATH
from echo.transports.poll import PollConsumer
from echo.transports.publish import PublishConsumer
from echo.transports.sse import SseConsumer
from echo.transports.websocket import FeedConsumer

websocket_urlpatterns = [
    path("echo", EchoConsumer.as_asgi()),
    path("feed/ws", FeedConsumer.as_asgi()),
    path("protocol/tap", view_tap),
    path(TAP_PATH.removeprefix("/"), tapped_echo),
    # the race: a stock consumer, and its lanes again behind a slow network
    path("transports/head", tell_head),
    path("transports/stock", stock),
    path("transports/slow/stock", slow(stock)),
    path("transports/slow/feed/ws", slow(FeedConsumer.as_asgi())),
    re_path("", not_found),
]

# Not in Django: streams and polls last long, and it keeps a thread for each request.
http_urlpatterns = [
    path("feed/sse", SseConsumer.as_asgi()),
    path("feed/poll", PollConsumer.as_asgi()),
    path("feed/publish", PublishConsumer.as_asgi()),
    path("transports/slow/feed/sse", slow(SseConsumer.as_asgi())),
    path("transports/slow/feed/poll", slow(PollConsumer.as_asgi())),
]


def below_root_path(application: Any) -> Any:
    """Wrap an application so that each path begins with the server's ``--root-path``.

    uvicorn puts the root path before the requested path, Daphne leaves that to a proxy, and
    Channels' URLRouter raises ValueError for a path without it.
    """

    async def add_root_path(scope: Any, receive: Any, send: Any) -> None:
        root = (scope.get("root_path") or "").rstrip("/")
        if root and not (scope.get("path", root) + "/").startswith(root + "/"):
            scope = scope | {"path": root + scope["path"]}
        await application(scope, receive, send)

    return add_root_path
