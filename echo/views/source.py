"""Shows the site's own source, to which the pages link: what is read is what runs."""

from pathlib import Path

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

PACKAGE = Path(__file__).resolve().parent.parent


@require_safe
def source(request: HttpRequest, path: str) -> HttpResponse:
    """Return a Python file below ``echo/`` as text; 404 for any other path."""
    file = (PACKAGE / path).resolve()
    if not file.is_relative_to(PACKAGE) or file.suffix != ".py" or not file.is_file():
        raise Http404
    return HttpResponse(file.read_bytes(), content_type="text/plain; charset=utf-8")
