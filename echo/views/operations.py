"""What machines ask: alive, ready, and how much of everything."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from echo.answers import Json
from echo.feed import get_node

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
        node = await get_node()
    except DatabaseError:
        return Json({"status": "down", "log": "down"}, status=503)
    log = log_state(node.relay.log_up, node.relay.log_age_seconds)
    known = node.cluster.stats.state()
    state = {
        "node": known.node,
        "pid": known.pid,
        "started_at": known.started_at,
        "head": known.head,
        "connections": known.connections,
        "channel_layer": known.channel_layer,
        "log": log,
        "log_age_seconds": round(node.relay.log_age_seconds, 1),
    }
    if log == "down":
        return Json({"status": "down"} | state, status=503)
    degraded = log == "silent" or state["channel_layer"] == "down"
    return Json({"status": "degraded" if degraded else "ok"} | state)


def log_state(is_up: bool, age_seconds: float) -> str:
    """Return ``up``, ``silent`` when the log has not answered lately, or ``down``."""
    if not is_up:
        return "down"
    return "silent" if age_seconds > LOG_SILENCE_SECONDS else "up"


@require_safe
@never_cache
async def metrics(request: HttpRequest) -> HttpResponse:
    """This process's figures, for Prometheus."""
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
