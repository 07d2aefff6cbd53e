"""The JSON responses of Django's views."""

from typing import Any

from django.http import JsonResponse

from echo.protocol import error_body


class Utf8Json(JsonResponse):
    """A response of compact JSON in UTF-8, without ``\\u`` escapes: 小王子."""

    def __init__(self, data: Any, **kwargs: Any) -> None:
        super().__init__(
            data,
            content_type="application/json; charset=utf-8",
            json_dumps_params={"ensure_ascii": False, "separators": (",", ":")},
            **kwargs,
        )


def error_response(status: int, detail: str) -> Utf8Json:
    """Return an error as JSON: status_code, error and detail."""
    return Utf8Json(error_body(status, detail), status=status)
