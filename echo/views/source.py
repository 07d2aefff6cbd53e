"""Shows the site's own source, to which the pages link: what is read is what runs."""

from pathlib import Path

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

PACKAGE = Path(__file__).resolve().parent.parent
# By path below `echo/`. A visitor's path is looked up here and never meets the file system.
FILES = {file.relative_to(PACKAGE).as_posix(): file for file in PACKAGE.rglob("*.py")}


@require_safe
def source(request: HttpRequest, path: str) -> HttpResponse:
    """Return a Python file below ``echo/`` as text; 404 for any other path."""
    if path not in FILES:
        raise Http404
    return HttpResponse(
        FILES[path].read_bytes(), content_type="text/plain; charset=utf-8"
    )
