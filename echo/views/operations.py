"""Endpoints for operations: health, readiness and metrics."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from echo.feed import get_node
from echo.responses import Utf8Json

# The log is read once a second, and each read takes 4.5 s at most.
LOG_SILENCE_SECONDS = 5.0


@require_safe
@never_cache
async def healthz(request: HttpRequest) -> HttpResponse:
    """Return 200 while the process runs."""
    return Utf8Json({"status": "ok"})


@require_safe
@never_cache
async def readyz(request: HttpRequest) -> HttpResponse:
    """Return 200, with ``degraded`` if events may be late, and 503 without the log.

    Events are late without the channel layer, and while the log does not answer. The cause
    of a failure is in the server's log only.
    """
    try:
        node = await get_node()
    except DatabaseError:
        return Utf8Json({"status": "down", "log": "down"}, status=503)
    log = log_state(node.relay.is_log_up, node.relay.log_age_seconds)
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
        return Utf8Json({"status": "down"} | state, status=503)
    degraded = log == "silent" or state["channel_layer"] == "down"
    return Utf8Json({"status": "degraded" if degraded else "ok"} | state)


def log_state(is_up: bool, age_seconds: float) -> str:
    """Return ``up``, ``down``, or ``silent`` if the log has not answered lately."""
    if not is_up:
        return "down"
    return "silent" if age_seconds > LOG_SILENCE_SECONDS else "up"


@require_safe
@never_cache
async def metrics(request: HttpRequest) -> HttpResponse:
    """Return this process's metrics for Prometheus."""
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
