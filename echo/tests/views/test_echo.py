"""A plain GET of /echo returns the settings of its WebSocket."""

from django.test import AsyncClient, Client

from echo.knobs import PARSERS


async def test_a_valid_query_is_answered_426_with_the_settings(
    async_client: AsyncClient,
) -> None:
    response = await async_client.get("/echo?delay=250ms&x=1")
    assert response.status_code == 426
    assert (response["Upgrade"], response["Connection"]) == ("websocket", "Upgrade")
    body = response.json()
    assert body["error"] == "Upgrade Required"
    assert body["settings"]["delay"] == 0.25
    assert body["settings"].keys() == {*PARSERS, "max_message_size"}
    assert body["ignored"] == ["x"]


def test_a_refused_query_is_answered_400_with_the_reason(client: Client) -> None:
    response = client.get("/echo?delay=%E5%B0%8F")
    assert response.status_code == 400
    assert response.json() == {
        "status_code": 400,
        "error": "Bad Request",
        "detail": "delay: expected a duration such as 250ms, 1.5s or 2, from 0s to 10s, "
        "got '小'",
    }
