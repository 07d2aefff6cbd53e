"""Returns Django's 404 and 405 as JSON to clients that are not browsers."""

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware

from echo.responses import error_response

View = Callable[[HttpRequest], Awaitable[HttpResponse]]


@async_only_middleware
def json_errors(get_response: View) -> View:
    """Replace 404 and 405 only: the pages of other errors have more than JSON could."""

    async def answer(request: HttpRequest) -> HttpResponse:
        response = await get_response(request)
        # The first one wins if the client prefers none: `curl` gets JSON.
        wanted = request.get_preferred_type(["application/json", "text/html"])
        if wanted == "text/html" or not is_html(response):
            return response
        if response.status_code == 404:
            return error_response(
                404, f"expected a path that exists, got {request.path}; see /"
            )
        if response.status_code == 405:
            allow = response["Allow"]
            problem = error_response(405, f"expected {allow}, got {request.method}")
            problem["Allow"] = allow
            return problem
        return response

    return answer


def is_html(response: HttpResponse) -> bool:
    """Return True for a page, and for empty responses, which Django marks as HTML."""
    return response.get("Content-Type", "").startswith("text/html")
