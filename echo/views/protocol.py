"""The page Protocol and its experiments."""

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from echo.lab import frame_tool, handshakes, streams, updates
from echo.lab.handshake_rules import EXAMPLES
from echo.responses import error_response
from echo.views.experiment import experiment


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Render the page."""
    return render(request, "echo/protocol.html", {"handshake_examples": EXAMPLES})


@experiment
async def handshake(request: HttpRequest, settings: dict[str, Any]) -> Any:
    """Send a request for a WebSocket, and return the answer."""
    return await handshakes.send_request(scope_of(request), settings)


@experiment
async def compare_streams(request: HttpRequest, settings: dict[str, Any]) -> Any:
    """Write a burst of messages to TCP and to a WebSocket, and return what was read."""
    return await streams.compare(scope_of(request), settings)


@experiment
async def compare_updates(request: HttpRequest, settings: dict[str, Any]) -> Any:
    """Send updates over HTTP and over a WebSocket, and return what they cost."""
    return await updates.compare(scope_of(request), settings)


@csrf_exempt  # it changes nothing
@require_POST
@never_cache
async def update(request: HttpRequest) -> HttpResponse:
    """Give an update back; 413 if it is longer than those of the experiment."""
    body = request.read(updates.MAX_UPDATE_BYTES + 1)
    if len(body) > updates.MAX_UPDATE_BYTES:
        return error_response(
            413, f"expected at most {updates.MAX_UPDATE_BYTES} bytes, got more"
        )
    return HttpResponse(body, content_type="application/octet-stream")


@experiment
async def frames_build(request: HttpRequest, settings: dict[str, Any]) -> Any:
    """Build a frame, and return it field by field."""
    return frame_tool.build_frame(settings)


@experiment
async def frames_read(request: HttpRequest, settings: dict[str, Any]) -> Any:
    """Read bytes, or an example's, into frames."""
    return frame_tool.read_frames(settings)


@experiment
async def frames_send(request: HttpRequest, settings: dict[str, Any]) -> Any:
    """Send bytes to the site's own echo, and return its answer."""
    return await frame_tool.send_frames(scope_of(request), settings)


def scope_of(request: HttpRequest) -> Any:
    """Return a request's ASGI scope; an empty one under WSGI, which has none."""
    return request.scope if isinstance(request, ASGIRequest) else {}
