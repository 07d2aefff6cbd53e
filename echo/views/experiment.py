"""What the experiments' views share: a JSON object in, JSON or an error with its reason out."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from echo.feed import before_shutdown
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
            settings = read_settings(request)
            return Utf8Json(await until_shutdown(run(request, settings)), safe=False)
        except LabError as error:
            return error_response(error.status, str(error))

    return view


# The deadlines of the experiments that run, by event loop; a shutdown brings them forward.
deadlines: WeakKeyDictionary[asyncio.AbstractEventLoop, set[asyncio.Timeout]] = (
    WeakKeyDictionary()
)


async def until_shutdown(experiment: Awaitable[Any]) -> Any:
    """Return what an experiment returns. Raises LabError when the server shuts down.

    uvicorn would wait for a race, which may take a minute, and Daphne would cut it.
    """
    loop = asyncio.get_running_loop()
    if loop not in deadlines:
        deadlines[loop] = set()
        before_shutdown(end_experiments)
    deadline = asyncio.timeout(None)
    deadlines[loop].add(deadline)
    try:
        async with deadline:
            return await experiment
    except TimeoutError:
        if not deadline.expired():
            raise
        raise LabError(_("the server is shutting down: try again"), 503) from None
    finally:
        deadlines[loop].discard(deadline)


async def end_experiments() -> None:
    """End this event loop's experiments; their visitors get a 503."""
    for deadline in deadlines[asyncio.get_running_loop()]:
        if not deadline.expired():
            deadline.reschedule(0)


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
