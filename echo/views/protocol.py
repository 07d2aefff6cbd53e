"""The page Protocol and its experiments."""

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from echo.lab import handshakes
from echo.lab.handshake_rules import EXAMPLES
from echo.views.experiment import experiment


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Render the page."""
    return render(request, "echo/protocol.html", {"handshake_examples": EXAMPLES})


@experiment
async def handshake(request: HttpRequest, settings: dict[str, Any]) -> Any:
    """Send a request for a WebSocket, and return the answer."""
    return await handshakes.send_request(scope_of(request), settings)


def scope_of(request: HttpRequest) -> Any:
    """Return a request's ASGI scope; an empty one under WSGI, which has none."""
    return request.scope if isinstance(request, ASGIRequest) else {}
