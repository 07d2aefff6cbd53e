"""What the experiments' views share: a JSON object in, JSON or an error with its reason out."""

import json
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from echo.lab.bounds import LabError
from echo.responses import Utf8Json, error_response

MAX_BODY_BYTES = 64 * 1024

Run = Callable[[HttpRequest, dict[str, Any]], Awaitable[Any]]


def experiment(
    run: Run,
) -> Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]:
    """Make a view of a coroutine that takes a request and its settings.

    It answers a POST, which needs a CSRF token as every form does, with what the coroutine
    returns, as JSON.
    """

    @require_POST
    @never_cache
    @wraps(run)
    async def view(request: HttpRequest) -> HttpResponse:
        try:
            return Utf8Json(await run(request, read_settings(request)), safe=False)
        except LabError as error:
            return error_response(error.status, str(error))

    return view


def read_settings(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object in the request's body. Raises LabError."""
    body = request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise LabError(
            _("expected a body of at most %(bytes)s bytes") % {"bytes": MAX_BODY_BYTES},
            413,
        )
    try:
        settings = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise LabError(_("expected a JSON object as the body"))
    return settings
