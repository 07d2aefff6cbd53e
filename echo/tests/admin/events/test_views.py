"""Publishing: the log of actions, the previews, publishing again, and permissions."""

import json
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import AsyncClient

from echo.feed import apublish
from echo.feed.node import Node
from echo.models import Event
from echo.tests.admin.events.pages import (
    ADD,
    GAPS,
    OPEN,
    PUBLISH,
    SCRIPT,
    URL,
    VIEW,
    Degrade,
    Fields,
    filled_in,
    form,
    get,
    publish,
    text_of,
)
from echo.tests.admin.operators import sign_in
from echo.tests.feed.reading import read, subscribe, until

pytestmark = pytest.mark.django_db(transaction=True)


async def test_adding_an_event_publishes_it_in_the_operators_name(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    reader = await subscribe(node, "news")
    event = await publish(async_client, data="Grüße")
    assert (event.topic, event.data) == ("news", '"Grüße"')
    assert (event.source, event.author) == ("admin", "ann")
    await until(lambda: not reader.is_idle)
    (frame,) = await read(reader)
    assert frame.json.endswith('"data":"Grüße"}')


async def test_a_published_event_is_in_djangos_log_of_actions(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client)
    entry = await LogEntry.objects.select_related("user").aget()
    assert (entry.user.username, entry.object_id) == ("ann", str(event.number))
    assert entry.is_addition()


async def test_an_event_whose_action_cannot_be_logged_is_not_published(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)

    def fail(*arguments: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr("echo.admin.events.EventAdmin.log_addition", fail)
    with pytest.raises(RuntimeError, match="no room"):
        await async_client.post(ADD, form())
    assert not await Event.objects.aexists()


async def test_the_latest_topics_are_suggested_with_their_readers(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    await apublish("quiet", 1)
    await apublish("news.eu", 1)
    for pattern in ("news.*", "*"):
        await subscribe(node, pattern)
    page = await get(async_client, ADD)
    assert re.findall(r'<option value="([^"]+)">(\d+) connection', page) == [
        ("news.eu", "2"),
        ("quiet", "1"),
    ]


async def test_the_readers_of_the_typed_topic_are_counted(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    await subscribe(node, "news")
    for topic, count in {"news": 1, "new": 0}.items():
        answer = json.loads(await get(async_client, f"{URL}readers/?topic={topic}"))
        assert answer["readers"] == count
        assert answer["text"].startswith(f"{count} connection")


@pytest.mark.parametrize(("gap", "where", "why"), GAPS)
async def test_an_incomplete_count_of_readers_says_at_least(
    async_client: AsyncClient,
    node: Node,
    degrade: Degrade,
    gap: Fields,
    where: str,
    why: str,
) -> None:
    await sign_in(async_client, PUBLISH)
    await apublish("news", 1)
    await subscribe(node, "news")
    degrade(**gap)
    answer = json.loads(await get(async_client, f"{URL}readers/?topic=news"))
    assert answer["text"] == f"At least 1 connection reads this now · {why}"
    suggested = '<option value="news">At least 1 connection reads this now<'
    assert suggested in await get(async_client, ADD)


@pytest.mark.parametrize(
    "query", ["", "?topic=", "?topic=a..b", "?topic=*", "?topic=%00"]
)
async def test_an_invalid_topic_is_explained(
    async_client: AsyncClient, node: Node, query: str
) -> None:
    await sign_in(async_client, PUBLISH)
    answer = json.loads(await get(async_client, f"{URL}readers/{query}"))
    assert answer["readers"] is None
    assert answer["text"].startswith("topic: expected words of A-Z")


@pytest.mark.parametrize(
    ("format_", "typed"),
    [("text", 'say "…"\n\u2028'), ("json", ' {"id": "-0", "n":1}')],
)
async def test_the_preview_is_the_frame_that_readers_get(
    async_client: AsyncClient, node: Node, format_: str, typed: str
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    reader = await subscribe(node, "news")
    filled = form(format=format_, data=typed)
    preview = text_of(await async_client.post(f"{URL}preview/", filled))
    event = await publish(async_client, **filled)
    await until(lambda: not reader.is_idle)
    (frame,) = await read(reader)
    assert json.loads(preview) == {
        "errors": {},
        "size": len(event.data.encode()),
        "frame": OPEN.sub(r'\1"…"', frame.json, count=3),
    }


async def test_the_preview_has_the_errors_and_publishes_nothing(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    filled = form(topic="a..b", format="json", data="{")
    preview = json.loads(text_of(await async_client.post(f"{URL}preview/", filled)))
    assert preview["errors"].keys() == {"topic", "data"}
    assert (preview["size"], preview["frame"]) == (None, None)
    assert not await Event.objects.aexists()


async def test_data_nested_too_deep_for_python_is_shown_unchanged(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    await apublish("news", 1)
    deep = f"{'[' * 5000}{']' * 5000}"
    await Event.objects.aupdate(data=deep)
    assert f'<pre class="wire">{deep}</pre>' in await get(
        async_client, f"{URL}1/change/"
    )
    filled = filled_in(await get(async_client, f"{ADD}?again=1"))
    assert (filled["format"], filled["data"]) == ("json", deep)


@pytest.mark.parametrize("again", ["7", "x", "9" * 40, SCRIPT, "%00"])
async def test_an_event_that_is_gone_cannot_be_published_again(
    async_client: AsyncClient, node: Node, again: str
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    page = await get(async_client, f"{ADD}?again={again}")
    assert "is no longer in the log." in page
    assert SCRIPT not in page
    assert filled_in(page)["data"] == ""


async def test_the_url_may_name_the_topic(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    page = await get(async_client, f'{ADD}?topic="><b>')
    assert filled_in(page)["topic"] == '"><b>'
    assert '"><b>' not in page


@pytest.mark.parametrize("path", ["add/", "preview/"])
async def test_the_permission_to_view_does_not_publish(
    async_client: AsyncClient, node: Node, path: str
) -> None:
    await sign_in(async_client, VIEW)
    assert (await async_client.post(URL + path, form())).status_code == 403
    assert not await Event.objects.aexists()


async def test_the_id_is_shown_to_users_who_may_not_view(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    page = text_of(await async_client.post(ADD, form(), follow=True))
    assert f"Published as {node.history.head.epoch}-1." in page
    assert '<form id="publish"' in page


async def test_a_form_without_its_csrf_token_is_refused(
    async_client: AsyncClient, node: Node
) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    await sign_in(client, VIEW, PUBLISH)
    for path in ("add/", "preview/"):
        assert (await client.post(URL + path, form())).status_code == 403
    assert not await Event.objects.aexists()
