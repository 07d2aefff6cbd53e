"""The page Market and its button, as the views answer."""

import json
from typing import Any

import pytest
from django.db import OperationalError
from django.test import AsyncClient, Client

from echo.lab.market import visitors


@pytest.fixture
def client(transactional_db: None, settings: Any) -> Client:
    settings.MARKET_FOR_VISITORS = True
    return Client()


async def post(path: str, body: str) -> tuple[int, Any]:
    response = await AsyncClient().post(path, body, content_type="application/json")
    return response.status_code, json.loads(response.content)


def test_the_page_has_the_button_only_where_the_operator_allows_it(
    client: Client, settings: Any
) -> None:
    assert "/market/start" in client.get("/market/").content.decode()
    settings.MARKET_FOR_VISITORS = False
    page = client.get("/market/").content.decode()
    assert "/market/start" not in page
    assert "manage.py market" in page


async def test_where_it_is_not_allowed_the_refusal_has_the_remedy(
    client: Client, settings: Any
) -> None:
    settings.MARKET_FOR_VISITORS = False
    status, answer = await post("/market/start", "{}")
    assert status == 403
    assert "MARKET_FOR_VISITORS" in answer["detail"]
    assert not visitors.tasks


@pytest.mark.parametrize("body", ['{"rate": 1000}', "[]", "no JSON"])
async def test_settings_that_cannot_be_are_refused(client: Client, body: str) -> None:
    status, answer = await post("/market/start", body)
    assert status == 400
    assert "expected" in answer["detail"]
    assert not visitors.tasks


async def test_without_a_database_the_refusal_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(chosen: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(visitors, "start", fail)
    status, answer = await post("/market/start", "{}")
    assert status == 503
    assert (
        answer["detail"] == "the database cannot be reached: try again a little later"
    )


def test_a_server_that_cannot_keep_a_market_running_says_so(client: Client) -> None:
    response = client.post("/market/start", "{}", content_type="application/json")
    assert response.status_code == 501
    assert "expected an ASGI server" in response.json()["detail"]


def test_a_market_is_not_started_by_a_link(client: Client) -> None:
    assert client.get("/market/start").status_code == 405
