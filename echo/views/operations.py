"""What machines ask: alive, ready, and how much of everything."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from echo.answers import Json
from echo.feed import Relay, get_relay

# It is read once a second, and each look is over within 4.5 s.
LOG_SILENCE_SECONDS = 5.0


@require_safe
@never_cache
async def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers at all."""
    return Json({"status": "ok"})


@require_safe
@never_cache
async def readyz(request: HttpRequest) -> HttpResponse:
    """200 when events flow, ``degraded`` when they may be late; 503 without the log.

    They are late without the channel layer, and while the log gives no answer. Why the log
    cannot be read is for the server's log alone.
    """
    try:
        relay = await get_relay()
    except DatabaseError:
        return Json({"status": "down", "log": "down"}, status=503)
    log = log_state(relay)
    state = relay.describe() | {
        "log": log,
        "log_age_seconds": round(relay.log_age_seconds, 1),
    }
    if log == "down":
        return Json({"status": "down"} | state, status=503)
    degraded = log == "silent" or state["channel_layer"] == "down"
    return Json({"status": "degraded" if degraded else "ok"} | state)


def log_state(relay: Relay) -> str:
    """Return ``up``, ``silent`` when the log has not answered lately, or ``down``."""
    if not relay.log_up:
        return "down"
    return "silent" if relay.log_age_seconds > LOG_SILENCE_SECONDS else "up"


@require_safe
@never_cache
async def metrics(request: HttpRequest) -> HttpResponse:
    """This process's figures, for Prometheus."""
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
