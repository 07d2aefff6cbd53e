"""Django's HTTP routes; routing.py has the WebSockets and the feed."""

from django.urls import path

from echo.views import market, protocol, transports
from echo.views.anything import anything
from echo.views.demos import hello, more_json, some_protobuf, user_search
from echo.views.echo import echo_endpoint
from echo.views.feed import needs_asgi
from echo.views.operations import healthz, metrics, readyz
from echo.views.pages import console, live
from echo.views.source import source

urlpatterns = [
    # pages
    path("", console, name="console"),
    path("live/", live, name="live"),
    path("transports/", transports.page, name="transports"),
    path("market/", market.page, name="market"),
    path("market/start", market.start, name="market-start"),
    path("protocol/", protocol.page, name="protocol"),
    path("protocol/handshake", protocol.handshake, name="protocol-handshake"),
    path("protocol/streams", protocol.compare_streams, name="protocol-streams"),
    path("protocol/updates", protocol.compare_updates, name="protocol-updates"),
    path("protocol/update", protocol.update, name="protocol-update"),
    path("protocol/frames/build", protocol.frames_build, name="protocol-frames-build"),
    path("protocol/frames/read", protocol.frames_read, name="protocol-frames-read"),
    path("protocol/frames/send", protocol.frames_send, name="protocol-frames-send"),
    # the race
    path("transports/races", transports.reserve, name="race-reserve"),
    path("transports/races/start", transports.start, name="race-start"),
    path("transports/clock", transports.clock, name="race-clock"),
    path("transports/head", transports.head, name="race-head"),
    path("source/<path:path>", source, name="source"),
    # the echo and the feed
    path("echo", echo_endpoint, name="echo"),
    path("feed/sse", needs_asgi, name="feed-sse"),
    path("feed/poll", needs_asgi, name="feed-poll"),
    path("feed/publish", needs_asgi, name="feed-publish"),
    # plain HTTP
    path("hello", hello, name="hello"),
    path("someJSON", hello, name="some-json"),
    path("moreJSON", more_json, name="more-json"),
    path("someProtoBuf", some_protobuf, name="some-protobuf"),
    path("user/search", user_search, name="user-search"),
    path("anything", anything, name="anything"),
    path("anything/<path:rest>", anything, name="anything-below"),
    # operations
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
