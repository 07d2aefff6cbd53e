"""Publishes in the admin and reads its pages."""

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

from django.test import AsyncClient

from echo.feed import Subscription, count_deliveries
from echo.models import Event
from echo.tests.feed.reading import read

URL = "/admin/echo/event/"
ADD = f"{URL}add/"
VIEW, PUBLISH = "view_event", "add_event"
SCRIPT = "<script>alert(1)</script>"
Fields = dict[str, Any]
Degrade = Callable[..., None]
# How a survey may be incomplete, and the texts for where it holds and why.
GAPS: list[tuple[Fields, str, str]] = [
    (
        {"unresponsive": ["b", "c"]},
        "on the nodes that answered",
        "Not counted, because they did not answer in time: b, c",
    ),
    (
        {"is_degraded": True},
        "on this node",
        "The channel layer is down: only this node's connections are known.",
    ),
]
PROBLEM = re.compile(r'<p class="help problem" id="(\w+)"[^>]*>(.*?)</p>')
FIELDS = re.compile(r'name="(topic|key)" value="([^"]*)"')
TEXTAREA = re.compile(r"<textarea[^>]*>\r?\n(.*?)</textarea>", re.DOTALL)
CHECKED = re.compile(r'type="radio" name="format" value="(\w+)"[^>]* checked')
OPEN = re.compile(r'("(?:id|previous|sent_at)":)(?:"[^"]*"|null)')


def form(**fields: str) -> dict[str, str]:
    """Return a form as a browser sends it, by default a text to ``news``."""
    return {"topic": "news", "format": "text", "data": "hi", "key": "k1", **fields}


def text_of(response: Any) -> str:
    assert response.status_code == 200, response
    return str(response.content.decode())


async def get(client: AsyncClient, path: str) -> str:
    return text_of(await client.get(path))


async def publish(client: AsyncClient, **fields: str) -> Event:
    """Publish in the admin; return the event, which is the log's last."""
    response = await client.post(ADD, form(**fields))
    assert response.status_code == 302, problems(response.content.decode())
    event = await Event.objects.afirst()
    assert event is not None
    assert response["Location"] == f"{URL}{event.number}/receipt/"
    return event


def problems(page: str) -> dict[str, str]:
    """Return a form's errors, by the id of the element that shows them."""
    return {place: unescape(words) for place, words in PROBLEM.findall(page)}


def filled_in(page: str) -> dict[str, str]:
    """Return the form of a page as a browser would send it."""
    fields = {name: unescape(value) for name, value in FIELDS.findall(page)}
    (data,) = TEXTAREA.findall(page)
    (format_,) = CHECKED.findall(page)
    return fields | {"data": unescape(data), "format": format_}


async def receipt(client: AsyncClient, event: Event) -> dict[str, Any]:
    """Return the receipt of an event as of now."""
    answer: dict[str, Any] = json.loads(
        await get(client, f"{URL}{event.number}/receipt/now/")
    )
    return answer


async def hand_over(*readers: Subscription) -> None:
    """Take all that is queued for these readers, as their transports do."""
    for reader in readers:
        count_deliveries(await read(reader))
