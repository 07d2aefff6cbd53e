"""JSON as every HTTP view of the site answers it."""

from typing import Any

from django.http import JsonResponse

from echo.protocol import error_body


class Json(JsonResponse):
    """Compact JSON in UTF-8: 小王子 goes out as itself, not as ``\\u`` escapes."""

    def __init__(self, data: Any, **kwargs: Any) -> None:
        super().__init__(
            data,
            content_type="application/json; charset=utf-8",
            json_dumps_params={"ensure_ascii": False, "separators": (",", ":")},
            **kwargs,
        )


def error(status: int, detail: str) -> Json:
    """An error as JSON: status_code, error and detail."""
    return Json(error_body(status, detail), status=status)
