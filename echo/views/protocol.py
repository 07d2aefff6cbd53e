"""The page Protocol and its experiments."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Render the page."""
    return render(request, "echo/protocol.html")
