"""The views of experiments take a JSON object, and refuse in the visitor's language."""

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from echo.lab.bounds import LabError
from echo.views.experiment import MAX_BODY_BYTES, experiment


@experiment
async def double(request: HttpRequest, settings: dict[str, Any]) -> Any:
    """An experiment that doubles a number, which must not be odd."""
    if settings["number"] % 2:
        raise LabError("expected an even number", 409)
    return [settings["number"] * 2]


def post(body: str | bytes) -> HttpResponse:
    request = RequestFactory().post("/", body, content_type="application/json")
    return async_to_sync(double)(request)


def test_what_the_experiment_returns_is_the_response() -> None:
    response = post('{"number": 4}')
    assert response.status_code == 200
    assert json.loads(response.content) == [8]
    assert "no-store" in response["Cache-Control"]


def test_a_refusal_has_its_status_and_reason() -> None:
    response = post('{"number": 3}')
    assert response.status_code == 409
    assert json.loads(response.content)["detail"] == "expected an even number"


@pytest.mark.parametrize("body", ["[]", "7", "{", "null", b"\xff", "[" * 60_000])
def test_any_other_body_is_refused(body: str | bytes) -> None:
    response = post(body)
    assert response.status_code == 400
    assert (
        json.loads(response.content)["detail"] == "expected a JSON object as the body"
    )


def test_a_body_over_the_limit_is_refused_unread() -> None:
    response = post(b"{}" + b" " * MAX_BODY_BYTES)
    assert response.status_code == 413


def test_only_a_post_runs_an_experiment() -> None:
    request = RequestFactory().get("/")
    assert async_to_sync(double)(request).status_code == 405
