"""The log of actions in the admin: listed with the permission, never changed."""

import pytest
from django.test import AsyncClient

from echo.feed.node import Node
from echo.tests.admin.operators import sign_in

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/admin/admin/logentry/"
FORM = {"topic": "news", "format": "text", "data": "hi", "key": "k"}


async def test_what_operators_did_is_listed_with_their_names(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, "add_event", "view_event", "view_logentry")
    await async_client.post("/admin/echo/event/add/", FORM)
    page = (await async_client.get(f"{URL}?q=ann")).content.decode()
    assert "news 1" in page
    assert "1 log entry" in page
    nothing = (await async_client.get(f"{URL}?q=nobody")).content.decode()
    assert "0 log entries" in nothing


async def test_log_entries_are_read_only(async_client: AsyncClient) -> None:
    await sign_in(async_client, "view_logentry", "delete_logentry", "change_logentry")
    for path in ("add/", "1/delete/"):
        assert (await async_client.post(URL + path)).status_code in (302, 403)
    page = (await async_client.get(URL)).content.decode()
    assert 'name="action"' not in page


async def test_the_log_needs_the_permission_to_view(async_client: AsyncClient) -> None:
    await sign_in(async_client, "view_event")
    assert (await async_client.get(URL)).status_code == 403
