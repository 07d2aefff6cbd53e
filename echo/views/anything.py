"""``/anything``: returns the request as JSON, with httpbin's field names."""

import base64
import json
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from echo.protocol import redacted
from echo.responses import Utf8Json, error_response

# go-httpbin's default too. Far under DATA_UPLOAD_MAX_MEMORY_SIZE, so that a body meets this
# limit only.
MAX_BODY_BYTES = 1024 * 1024


@csrf_exempt
@never_cache
async def anything(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Return method, address, headers and body; 413 or 400 for a body that is invalid."""
    body = request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        return error_response(
            413, f"expected a body of at most {MAX_BODY_BYTES} bytes, got more"
        )
    try:
        return Utf8Json(seen(request) | seen_body(request, body))
    except (MultiPartParserError, SuspiciousOperation) as problem:
        return error_response(
            400, f"expected a body as its Content-Type says, got: {problem}"
        )


def seen(request: HttpRequest) -> dict[str, Any]:
    """Return all but the body; ``origin`` is httpbin's name for the client's address."""
    return {
        "method": request.method,
        "url": request.build_absolute_uri(),
        "args": single_or_list(request.GET.lists()),
        "headers": redacted(request.headers.items()),
        "origin": request.META.get("REMOTE_ADDR"),  # none on a Unix socket
    }


def seen_body(request: HttpRequest, body: bytes) -> dict[str, Any]:
    """Return the body as form and files, or as data, and as JSON if it is JSON.

    Django parses forms for POST only; here every method may have one.
    """
    form: QueryDict = QueryDict()
    files: MultiValueDict[str, UploadedFile] = MultiValueDict()
    if request.content_type == "application/x-www-form-urlencoded":
        form, body = QueryDict(body, encoding="utf-8"), b""
    elif request.content_type == "multipart/form-data":
        # Without a length, as in a chunked request, the parser would read nothing.
        headers = request.META | {"CONTENT_LENGTH": len(body)}
        handlers = request.upload_handlers
        form, files = MultiPartParser(headers, BytesIO(body), handlers, "utf-8").parse()
        body = b""
    return {
        "data": as_text(body, request.content_type),
        "json": as_json(body),
        "form": single_or_list(form.lists()),
        "files": single_or_list((name, contents(f)) for name, f in files.lists()),
    }


def contents(files: Iterable[UploadedFile]) -> list[str]:
    """Return the contents of uploaded files."""
    return [as_text(file.read(), file.content_type) for file in files]


def as_text(body: bytes, content_type: str | None) -> str:
    """Return UTF-8 text as it is, anything else as a ``data:`` URL."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(body).decode()
        return f"data:{content_type or 'application/octet-stream'};base64,{encoded}"


def as_json(body: bytes) -> Any:
    """Return the body's JSON value, or None if it has none.

    Also None for NaN, 1e999 and lone surrogates: Python reads them, but JSON or UTF-8 cannot
    represent them.
    """
    try:
        value = json.loads(body)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def single_or_list(pairs: Iterable[tuple[str, list[str]]]) -> dict[str, Any]:
    """Return a dict with a list for a repeated key, and the value for any other."""
    return {
        name: values[0] if len(values) == 1 else list(values) for name, values in pairs
    }
