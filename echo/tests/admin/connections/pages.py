"""Opens the list of live connections, runs its actions, and reads what it shows."""

import re
from typing import Any

from django.contrib.admin.models import LogEntry
from django.test import AsyncClient

from echo.feed import Connection, Reader, Subscription
from echo.feed.access import Interest
from echo.feed.node import Node

URL = "/admin/echo/connection/"
ROW = re.compile(r'<tr data-id="([^"]+)"')
LINK = re.compile(r'<a href="(\?[^"]*)"[^>]* data-id="(\w+)"')
VIEW, END, PUBLISH = "view_connection", "end_connection", "add_event"
DISCONNECTED, RECONNECT = 4503, 4011


async def connect(
    node: Node, transport: str = "websocket", *topics: str, **fields: Any
) -> Subscription:
    reader = Reader(username=fields.pop("username", ""))
    interest = Interest(topics or ("news",), reader)
    connection = Connection(transport, **fields)
    return await node.subscribe(interest, "now", connection, 20)


async def get(client: AsyncClient, query: str = "", status: int = 200) -> str:
    """Return the list's HTML with its white space squeezed."""
    response = await client.get(URL + query)
    assert response.status_code == status
    return squeezed(response)


async def act(
    client: AsyncClient,
    action: str,
    *readers: Subscription,
    query: str = "",
    **fields: Any,
) -> str:
    """Run an action on these connections; return the page that follows."""
    ids = [reader.connection.id for reader in readers]
    form = {"action": action, "_selected_action": ids, **fields}
    response = await client.post(URL + query, form, follow=True)
    assert response.status_code == 200
    return squeezed(response)


def squeezed(response: Any) -> str:
    return re.sub(r"\s+", " ", response.content.decode())


def listed(page: str) -> list[str]:
    """Return the ids of the page's rows, in order."""
    return ROW.findall(page)


def links(page: str) -> dict[str, str]:
    """Return the links below the list, by name."""
    return {name: href.replace("&amp;", "&") for href, name in LINK.findall(page)}


def ids(*readers: Subscription) -> list[str]:
    return [reader.connection.id for reader in readers]


def farewell(reader: Subscription) -> tuple[int, str] | None:
    """Return the close code and reason that a connection got; None if it is open."""
    if reader.bye is None:
        return None
    return reader.bye.fields["code"], reader.bye.fields["reason"]


async def entries() -> list[tuple[str, str]]:
    """Return object id and text of each entry in the log of actions, oldest first."""
    found = LogEntry.objects.order_by("pk").values_list("object_id", "change_message")
    return [(str(pk), what) async for pk, what in found]
