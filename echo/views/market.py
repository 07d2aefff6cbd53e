"""The page Market and its experiments."""

from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from echo.lab.bounds import LabError
from echo.lab.market import symbols, visitors
from echo.lab.market.trade import DEFAULT_SYMBOLS, TOPIC
from echo.views.experiment import experiment


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Render the page, with the symbols that have traded and the market that runs."""
    try:
        offered, state = symbols.list_symbols(), visitors.read_state()
    except DatabaseError:  # the page reads both from the feed when that is back
        offered, state = list(DEFAULT_SYMBOLS), visitors.state(None)
    return render(
        request,
        "echo/market.html",
        {
            "symbols": offered,
            "may_start": settings.MARKET_FOR_VISITORS,
            "bounds": visitors,
            "start": {"now": timezone.now(), "topic": TOPIC, **state},
        },
    )


@experiment
async def start(request: HttpRequest, chosen: dict[str, Any]) -> dict[str, Any]:
    """Start a market for all visitors, unless one runs already."""
    if not settings.MARKET_FOR_VISITORS:
        raise LabError(
            _(
                "this site's operator does not let visitors start a market: set "
                "MARKET_FOR_VISITORS=on, or run manage.py market"
            ),
            403,
        )
    if not isinstance(request, ASGIRequest):
        raise LabError(_("expected an ASGI server, got WSGI"), 501)
    try:
        return await visitors.start(chosen)
    except DatabaseError:
        raise LabError(
            _("the database cannot be reached: try again a little later"), 503
        ) from None
