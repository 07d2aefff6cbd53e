"""What Django answers where the feed is not served beside it: under WSGI."""

from django.http import HttpRequest, HttpResponse

from echo.answers import error


def needs_asgi(request: HttpRequest) -> HttpResponse:
    """501 with the remedy; `wsdemo.asgi` routes these paths to `echo.transports`."""
    return error(
        501,
        f"expected an ASGI server for {request.path}, got WSGI: start the site with "
        "`manage.py runserver`, daphne or uvicorn",
    )
