"""What machines ask: alive, ready, and how much of everything."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from echo.answers import Json
from echo.feed import get_relay


@require_safe
@never_cache
async def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers at all."""
    return Json({"status": "ok"})


@require_safe
@never_cache
async def readyz(request: HttpRequest) -> HttpResponse:
    """200 when events flow, ``degraded`` without the channel layer; 503 without the log."""
    try:
        relay = await get_relay()
    except DatabaseError as error:
        return Json({"status": "down", "log": str(error)}, status=503)
    state = relay.describe() | {"log": "up" if relay.log_up else "down"}
    if not relay.log_up:
        return Json({"status": "down"} | state, status=503)
    degraded = state["channel_layer"] == "down"
    return Json({"status": "degraded" if degraded else "ok"} | state)


@require_safe
@never_cache
async def metrics(request: HttpRequest) -> HttpResponse:
    """This process's figures, for Prometheus."""
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
