"""A plain GET of ``/echo``: the settings that the WebSocket endpoint has for this query.

Browser JavaScript sees only code 1006 of a refused handshake; a page fetches the same URL
to show the reason.
"""

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from echo.knobs import KnobError, Knobs
from echo.protocol import error_body
from echo.responses import Utf8Json, error_response


@require_safe
@never_cache
async def echo_endpoint(request: HttpRequest) -> HttpResponse:
    """Return 426 with the effective settings, or 400 with the reason for a bad query."""
    try:
        knobs = Knobs.from_query(
            request.META["QUERY_STRING"].encode("latin-1"),
            max_message_size=settings.ECHO_MAX_MESSAGE_BYTES,
        )
    except KnobError as problem:
        return error_response(400, str(problem))
    shown = knobs.as_json()
    detail = "this is a WebSocket endpoint: open it with ws:// or wss://"
    effective = {"ignored": shown.pop("ignored"), "settings": shown}
    response = Utf8Json({**error_body(426, detail), **effective}, status=426)
    # RFC 9110 section 15.5.22: a 426 names the protocol to upgrade to. WSGI (`runserver
    # --noasgi`) does not allow these headers (PEP 3333).
    if isinstance(request, ASGIRequest):
        response["Upgrade"] = "websocket"
        response["Connection"] = "Upgrade"
    return response
