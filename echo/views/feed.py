"""The feed's URLs under WSGI, which cannot run its consumers."""

from django.http import HttpRequest, HttpResponse

from echo.responses import error_response


def needs_asgi(request: HttpRequest) -> HttpResponse:
    """Return 501 with the remedy; under ASGI, echo.routing has these paths."""
    return error_response(
        501,
        f"expected an ASGI server for {request.path}, got WSGI: start the site with "
        "`manage.py runserver`, daphne or uvicorn",
    )
