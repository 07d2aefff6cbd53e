"""The page Transports and its experiment, the race."""

import time
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from echo.lab import race
from echo.lab.heads import head_bytes
from echo.lab.race import Race
from echo.responses import Utf8Json
from echo.views.experiment import experiment

LIMITS = {
    "max_events": race.MAX_EVENTS,
    "max_sparse_events": race.MAX_SPARSE_EVENTS,
    "lowest_rate": race.LOWEST_RATE,
    "highest_rate": race.HIGHEST_RATE,
    "lowest_size": race.LOWEST_SIZE,
    "highest_size": race.HIGHEST_SIZE,
    "events": race.DEFAULT_EVENTS,
    "rate": race.DEFAULT_RATE,
    "size": race.DEFAULT_SIZE,
}
# By the names that the command prints, in the order of both.
LANES = [
    ("shortpoll", _("Short polling")),
    ("longpoll", _("Long polling")),
    ("sse", "Server-Sent Events"),
    ("websocket", "WebSocket"),
    ("stock", _("Stock Channels consumer")),
]


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Render the page."""
    return render(
        request,
        "echo/transports.html",
        {
            "limits": LIMITS,
            "lanes": LANES,
        },
    )


@experiment
async def reserve(request: HttpRequest, settings: dict[str, Any]) -> dict[str, Any]:
    """Return a race with these settings, and the token that starts it."""
    reserved = Race.of(settings)
    race.refuse_if_full(address(request))
    return {
        "id": reserved.id,
        "topic": reserved.topic,
        "events": reserved.events,
        "rate": reserved.rate,
        "size": reserved.size,
        "scenario": reserved.scenario,
        "seconds": reserved.seconds,
        "token": reserved.token,
    }


@experiment
async def start(request: HttpRequest, settings: dict[str, Any]) -> dict[str, Any]:
    """Publish a reserved race's events while the request lasts."""
    return await race.run(Race.of_token(settings.get("token")), address(request))


@require_safe
@never_cache
async def clock(request: HttpRequest) -> HttpResponse:
    """Return this server's time in microseconds since 1970."""
    return Utf8Json({"now_us": time.time_ns() // 1000})


@require_safe
@never_cache
async def head(request: HttpRequest) -> HttpResponse:
    """Return how many bytes the head of this request has, to a fetch or an EventSource.

    And what it says of its browser, with which ``manage.py race`` can do the same.
    """
    size = head_bytes(request.scope)  # type: ignore[attr-defined]
    if request.headers.get("Accept") == "text/event-stream":
        return HttpResponse(f"data: {size}\n\n", content_type="text/event-stream")
    return Utf8Json(
        {
            "head_bytes": size,
            "user_agent": request.headers.get("User-Agent", ""),
            "sec_ch_ua": request.headers.get("Sec-CH-UA", ""),
            "accept_language": request.headers.get("Accept-Language", ""),
        }
    )


def address(request: HttpRequest) -> str:
    return request.META.get("REMOTE_ADDR") or ""
