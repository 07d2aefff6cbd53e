"""The HTTP URLs; the WebSocket ones are in routing.py."""

from django.http import HttpRequest, HttpResponseBase
from django.urls import path

from echo.transports.longpoll import longpoll
from echo.transports.shortpoll import shortpoll
from echo.transports.sse import sse
from echo.views.anything import anything
from echo.views.demos import hello, more_json, some_protobuf, user_search
from echo.views.echo import echo_endpoint
from echo.views.operations import healthz, metrics, readyz
from echo.views.pages import console, live
from echo.views.publish import publish


async def poll(request: HttpRequest) -> HttpResponseBase:
    """A long poll with ``wait``, a short one without."""
    return await (longpoll if request.GET.get("wait") else shortpoll)(request)


urlpatterns = [
    # pages
    path("", console, name="console"),
    path("live/", live, name="live"),
    # the echo and the feed
    path("echo", echo_endpoint, name="echo"),
    path("feed/sse", sse, name="feed-sse"),
    path("feed/poll", poll, name="feed-poll"),
    path("feed/publish", publish, name="feed-publish"),
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
