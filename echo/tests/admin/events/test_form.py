"""The form that publishes: validated by the feed's rules, and published once."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import AsyncClient

from echo.admin.events.form import PublishForm
from echo.feed import apublish
from echo.feed.node import Node
from echo.models import Event
from echo.protocol import MAX_DATA_BYTES
from echo.tests.admin.events.pages import (
    ADD,
    PUBLISH,
    SCRIPT,
    VIEW,
    filled_in,
    form,
    get,
    problems,
    publish,
    text_of,
)
from echo.tests.admin.operators import sign_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("typed", "data"),
    [
        ('{"a": [1, 2.50],\r\n "b": null}', '{"a":[1,2.5],"b":null}'),
        ('"text"', '"text"'),
        ("100000000000000000001", "100000000000000000001"),
        ('"\\u00e9\\u2028"', '"é\\u2028"'),
    ],
)
async def test_json_is_published_as_the_value_it_is(
    async_client: AsyncClient, node: Node, typed: str, data: str
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client, format="json", data=typed)
    assert event.data == data


@pytest.mark.parametrize(
    ("typed", "data"),
    [("", '""'), (" two\r\nlines ", '" two\\nlines "'), ("{}", '"{}"')],
)
async def test_text_is_published_as_it_was_typed(
    async_client: AsyncClient, node: Node, typed: str, data: str
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    assert (await publish(async_client, data=typed)).data == data


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("", "Not JSON: line 1, column 1: Expecting value"),
        ('{"a": 1,\r\n "b"; 2}', "Not JSON: line 2, column 5: Expecting ':' delimiter"),
        ("[1] 2", "Not JSON: line 1, column 5: Extra data"),
        ("[" * 100_000, "Not JSON that can be read: maximum recursion depth"),
        ("1" * 5000, "Not JSON that can be read: Exceeds the limit"),
        ("NaN", "data: expected a JSON value, got one that is not: Out of range"),
        ('"\\ud800"', "data: expected a JSON value, got one that is not: 'utf-8'"),
    ],
)
async def test_invalid_json_is_refused_with_line_and_column(
    async_client: AsyncClient, node: Node, typed: str, problem: str
) -> None:
    await sign_in(async_client, PUBLISH)
    page = text_of(await async_client.post(ADD, form(format="json", data=typed)))
    assert problems(page).keys() == {"size"}
    assert problems(page)["size"].startswith(problem)
    assert not await Event.objects.aexists()


async def test_an_invalid_topic_is_refused_with_the_feeds_error(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    page = text_of(await async_client.post(ADD, form(topic=SCRIPT)))
    assert problems(page)["readers"].startswith("topic: expected words of A-Z a-z 0-9")
    assert SCRIPT not in page
    assert not await Event.objects.aexists()


@pytest.mark.parametrize("character", ["x", "é", "世"])
async def test_data_is_limited_in_bytes(
    async_client: AsyncClient, node: Node, character: str
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    count, rest = divmod(MAX_DATA_BYTES - len('""'), len(character.encode()))
    most = character * count + "x" * rest
    event = await publish(async_client, data=most)
    assert len(event.data.encode()) == MAX_DATA_BYTES
    page = text_of(await async_client.post(ADD, form(data=f"{most}x")))
    got = f"expected at most {MAX_DATA_BYTES} bytes of JSON, got {MAX_DATA_BYTES + 1}"
    assert problems(page) == {"size": f"data: {got}"}
    assert await Event.objects.acount() == 1


async def test_a_form_that_is_sent_twice_publishes_once(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    first = await publish(async_client)
    again = text_of(await async_client.post(ADD, form(), follow=True))
    assert f"it published {node.history.head.epoch}-{first.number}, once." in again
    assert await Event.objects.acount() == await LogEntry.objects.acount() == 1


@pytest.mark.parametrize("change", [{"data": "ho"}, {"topic": "other"}])
async def test_a_changed_form_publishes_again(
    async_client: AsyncClient, node: Node, change: dict[str, str]
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    await publish(async_client)
    await publish(async_client, **change)
    assert await Event.objects.acount() == 2


async def test_each_rendered_form_has_a_key_of_its_own(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    for _ in range(2):
        await async_client.post(ADD, filled_in(await get(async_client, ADD)))
    assert await Event.objects.acount() == 2


@pytest.mark.parametrize(
    "data",
    [
        "text",
        "\n two\nlines ",
        SCRIPT,
        "carriage\rreturn",
        "nul\0",
        {"a": [1, 2.5, None, 1e300], "ü": "\u2028"},
        10**30,
        "",
        False,
    ],
)
async def test_an_event_is_published_again_as_it_was(
    async_client: AsyncClient, node: Node, data: Any
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    await apublish("news.eu", data)
    first = await Event.objects.aget()
    page = await get(async_client, f"{ADD}?again={first.number}")
    assert SCRIPT not in page
    second = await publish(async_client, **filled_in(page))
    assert second.number == first.number + 1
    assert (second.topic, second.data) == (first.topic, first.data)


def test_a_key_that_is_too_long_is_refused_by_the_form() -> None:
    assert not PublishForm(form(key="k" * 101)).is_valid()
