"""A plain GET of ``/echo``: what the WebSocket endpoint there would do with this query.

Browser JavaScript is told nothing about a refused handshake but code 1006; a page asks
here, with ``fetch`` and the same query string, for the reason.
"""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from echo.knobs import KnobError, Knobs
from echo.protocol import error_body


@require_safe
@never_cache
def echo_endpoint(request: HttpRequest) -> JsonResponse:
    """426 with the effective settings; 400 with the reason for a query that is refused."""
    try:
        knobs = Knobs.from_query(
            request.META["QUERY_STRING"].encode("latin-1"),
            max_message_size=settings.ECHO_MAX_MESSAGE_BYTES,
        )
    except KnobError as error:
        return JsonResponse(error_body(400, str(error)), status=400)
    shown = knobs.as_json()
    body = error_body(426, "this is a WebSocket endpoint: open it with ws:// or wss://")
    response = JsonResponse(
        body | {"ignored": shown.pop("ignored"), "settings": shown}, status=426
    )
    # RFC 9110 section 15.5.22: a 426 names the protocol to upgrade to.
    response["Upgrade"] = "websocket"
    response["Connection"] = "Upgrade"
    return response
