"""A plain GET of ``/echo``: what the WebSocket endpoint there would do with this query.

Browser JavaScript is told nothing about a refused handshake but code 1006; a page asks
here, with ``fetch`` and the same query string, for the reason.
"""

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from echo.answers import Json, error
from echo.knobs import KnobError, Knobs
from echo.protocol import error_body


@require_safe
@never_cache
async def echo_endpoint(request: HttpRequest) -> HttpResponse:
    """426 with the effective settings; 400 with the reason for a query that is refused."""
    try:
        knobs = Knobs.from_query(
            request.META["QUERY_STRING"].encode("latin-1"),
            max_message_size=settings.ECHO_MAX_MESSAGE_BYTES,
        )
    except KnobError as problem:
        return error(400, str(problem))
    shown = knobs.as_json()
    detail = "this is a WebSocket endpoint: open it with ws:// or wss://"
    effective = {"ignored": shown.pop("ignored"), "settings": shown}
    response = Json({**error_body(426, detail), **effective}, status=426)
    # RFC 9110 section 15.5.22: a 426 names the protocol to upgrade to. WSGI, which is
    # `runserver --noasgi`, lets no application send these (PEP 3333).
    if isinstance(request, ASGIRequest):
        response["Upgrade"] = "websocket"
        response["Connection"] = "Upgrade"
    return response
