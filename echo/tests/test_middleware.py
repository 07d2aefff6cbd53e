"""Errors are JSON for clients, and pages for browsers."""

import pytest
from django.test import Client

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/*"])
def test_a_client_gets_404_as_json(client: Client, accept: str) -> None:
    response = client.get("/nope", headers={"accept": accept})
    assert response.status_code == 404
    assert response["Content-Type"] == "application/json; charset=utf-8"
    assert response.json() == {
        "status_code": 404,
        "error": "Not Found",
        "detail": "expected a path that exists, got /nope; see /",
    }


def test_a_browser_gets_404_as_a_page(client: Client) -> None:
    response = client.get("/nope", headers={"accept": BROWSER})
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_a_slash_is_still_appended(client: Client) -> None:
    response = client.get("/i18n/setlang", headers={"accept": "*/*"})
    assert (response.status_code, response["Location"]) == (301, "/i18n/setlang/")
