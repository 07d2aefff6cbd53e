"""Events in the admin: published once, told of in a receipt, looked at, never changed."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from echo.admin.events import receipt as receipts
from echo.admin.events.form import PublishForm
from echo.feed import STATS_TOPIC, Receipt, Subscription, Survey, apublish
from echo.feed import publish as feed_publish
from echo.feed.node import Node
from echo.models import Event
from echo.protocol import MAX_DATA_BYTES
from echo.tests.admin.operators import sign_in
from echo.tests.feed.reading import read, subscribe, until

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/admin/echo/event/"
ADD = f"{URL}add/"
VIEW, PUBLISH = "view_event", "add_event"
SCRIPT = "<script>alert(1)</script>"
Fields = dict[str, Any]
Mishear = Callable[..., None]
# What may be missing in an answer, where it holds nevertheless, and the words for it.
GAPS: list[tuple[Fields, str, str]] = [
    (
        {"unresponsive": ["b", "c"]},
        "on the nodes that answered",
        "Did not answer in time, so not counted: b, c",
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
    """A form as a browser sends it, for a text to ``news``."""
    return {"topic": "news", "format": "text", "data": "hi", "key": "k1", **fields}


def text_of(response: Any) -> str:
    assert response.status_code == 200, response
    return str(response.content.decode())


async def get(client: AsyncClient, path: str) -> str:
    return text_of(await client.get(path))


async def publish(client: AsyncClient, **fields: str) -> Event:
    """Publishes in the admin; the event that is then the log's last."""
    response = await client.post(ADD, form(**fields))
    assert response.status_code == 302, problems(response.content.decode())
    event = await Event.objects.afirst()
    assert event is not None
    assert response["Location"] == f"{URL}{event.number}/receipt/"
    return event


def problems(page: str) -> dict[str, str]:
    """What a form says is wrong, by the place where it says so."""
    return {place: unescape(words) for place, words in PROBLEM.findall(page)}


def filled_in(page: str) -> dict[str, str]:
    """The form of a page, as a browser would send it."""
    fields = {name: unescape(value) for name, value in FIELDS.findall(page)}
    (data,) = TEXTAREA.findall(page)
    (format_,) = CHECKED.findall(page)
    return fields | {"data": unescape(data), "format": format_}


async def receipt(client: AsyncClient, event: Event) -> dict[str, Any]:
    """What the receipt says of an event now."""
    answer: dict[str, Any] = json.loads(
        await get(client, f"{URL}{event.number}/receipt/now/")
    )
    return answer


async def hand_over(*readers: Subscription) -> None:
    """Takes what is due to these readers, as their transports would to send it."""
    for reader in readers:
        reader.sending(*await read(reader))


# --- publishing ------------------------------------------------------------------------


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

    monkeypatch.setattr("echo.admin.events.admin.EventAdmin.log_addition", fail)
    with pytest.raises(RuntimeError, match="no room"):
        await async_client.post(ADD, form())
    assert not await Event.objects.aexists()


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
async def test_what_is_no_json_is_refused_with_the_place_of_the_mistake(
    async_client: AsyncClient, node: Node, typed: str, problem: str
) -> None:
    await sign_in(async_client, PUBLISH)
    page = text_of(await async_client.post(ADD, form(format="json", data=typed)))
    assert problems(page).keys() == {"size"}
    assert problems(page)["size"].startswith(problem)
    assert not await Event.objects.aexists()


async def test_a_topic_is_judged_in_the_feeds_own_words(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    page = text_of(await async_client.post(ADD, form(topic=SCRIPT)))
    assert problems(page)["readers"].startswith("topic: expected words of A-Z a-z 0-9")
    assert SCRIPT not in page
    assert not await Event.objects.aexists()


@pytest.mark.parametrize("character", ["x", "é", "世"])
async def test_data_may_fill_the_limit_in_bytes_and_no_more(
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
    assert f"It has published {node.history.head.epoch}-{first.number}, once." in again
    assert await Event.objects.acount() == await LogEntry.objects.acount() == 1


@pytest.mark.parametrize("change", [{"data": "ho"}, {"topic": "other"}])
async def test_a_form_that_was_changed_since_publishes_again(
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


# --- while somebody types --------------------------------------------------------------


async def test_topics_of_late_are_suggested_with_their_readers(
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


async def test_the_readers_of_what_is_typed_are_counted(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    await subscribe(node, "news")
    for topic, count in {"news": 1, "new": 0}.items():
        answer = json.loads(await get(async_client, f"{URL}readers/?topic={topic}"))
        assert answer["readers"] == count
        assert answer["text"].startswith(f"{count} connection")


@pytest.mark.parametrize(("gap", "where", "why"), GAPS)
async def test_readers_are_at_least_those_of_the_nodes_that_were_heard(
    async_client: AsyncClient,
    node: Node,
    mishear: Mishear,
    gap: Fields,
    where: str,
    why: str,
) -> None:
    await sign_in(async_client, PUBLISH)
    await apublish("news", 1)
    await subscribe(node, "news")
    mishear(**gap)
    answer = json.loads(await get(async_client, f"{URL}readers/?topic=news"))
    assert answer["text"] == f"At least 1 connection reads this now · {why}"
    suggested = '<option value="news">At least 1 connection reads this now<'
    assert suggested in await get(async_client, ADD)


@pytest.mark.parametrize(
    "query", ["", "?topic=", "?topic=a..b", "?topic=*", "?topic=%00"]
)
async def test_what_is_no_topic_is_told_what_one_is(
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


async def test_the_preview_tells_what_is_wrong_and_publishes_nothing(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    filled = form(topic="a..b", format="json", data="{")
    preview = json.loads(text_of(await async_client.post(f"{URL}preview/", filled)))
    assert preview["errors"].keys() == {"topic", "data"}
    assert (preview["size"], preview["frame"]) == (None, None)
    assert not await Event.objects.aexists()


# --- publish again ---------------------------------------------------------------------


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


async def test_what_is_nested_too_deep_for_python_is_shown_as_it_is(
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
    assert "is not in the log any more." in page
    assert SCRIPT not in page
    assert filled_in(page)["data"] == ""


async def test_a_topic_to_publish_to_may_be_given(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    page = await get(async_client, f'{ADD}?topic="><b>')
    assert filled_in(page)["topic"] == '"><b>'
    assert '"><b>' not in page


# --- the receipt -----------------------------------------------------------------------


async def test_a_receipt_counts_who_has_been_handed_the_event(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    quick, slow = [await subscribe(node, "news") for _ in range(2)]
    await subscribe(node, "other")
    event = await publish(async_client)
    await until(lambda: not slow.is_idle)
    await hand_over(quick)
    before = await receipt(async_client, event)
    assert before["state"] == "under-way"
    assert before["delivered"] == "1 of 2 connections on 1 node"
    assert before["notes"] == ["1 has not been handed it yet."]
    assert re.fullmatch(r"[\d.]+ ms", before["took"])
    await hand_over(slow)
    after = await receipt(async_client, event)
    assert after["delivered"] == "2 of 2 connections on 1 node"
    assert (after["value"], after["max"], after["notes"]) == (2, 2, [])


async def test_a_receipt_is_complete_once_every_node_must_have_heard(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    reader = await subscribe(node, "news")
    event = await publish(async_client)
    await until(lambda: not reader.is_idle)
    await hand_over(reader)
    monkeypatch.setattr(receipts, "HEARD_BY_ALL", timedelta(days=1))
    assert (await receipt(async_client, event))["state"] == "under-way"
    monkeypatch.setattr(receipts, "HEARD_BY_ALL", timedelta(0))
    assert (await receipt(async_client, event))["state"] == "complete"


async def test_a_receipt_waits_for_the_last_reader(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "HEARD_BY_ALL", timedelta(0))
    await sign_in(async_client, VIEW, PUBLISH)
    reader = await subscribe(node, "news")
    event = await publish(async_client)
    await until(lambda: not reader.is_idle)
    assert (await receipt(async_client, event))["state"] == "under-way"
    reader.close()
    left = await receipt(async_client, event)
    assert left["state"] == "complete"
    assert left["notes"] == ["1 has got it from the log, or has left."]


async def test_a_receipt_says_what_it_means_that_nobody_reads(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "HEARD_BY_ALL", timedelta(0))
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client)
    await until(lambda: node.history.head.number == event.number)
    told = await receipt(async_client, event)
    assert (told["label"], told["delivered"]) == (
        "published, no reader",
        "0 of 0 connections on 1 node",
    )
    assert told["notes"][0].startswith("Nobody read this topic when the event came.")


async def test_a_receipt_says_when_nobody_counts_any_more(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "HEARD_BY_ALL", timedelta(0))
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client)
    node.hub.tallies.clear()
    told = await receipt(async_client, event)
    assert (told["state"], told["delivered"], told["took"]) == ("unknown", "–", "–")
    assert told["notes"][0].startswith("No node counts this event's deliveries")


async def test_a_receipt_tells_who_catches_up_from_the_log_from_who_is_due(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client)
    found = Receipt(9, 3, 5, 2, seconds=1.25, is_known=True)
    told = receipts.words(event, Survey(found, nodes=["a", "b"], unresponsive=[]))
    assert (told["delivered"], told["took"]) == (
        "3 of 9 connections on 2 nodes",
        "1.25 s",
    )
    assert told["notes"] == [
        "3 have not been handed it yet.",
        "2 are catching up from the log, and will come to it.",
        "1 has got it from the log, or has left.",
    ]


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(("gap", "where", "why"), GAPS)
async def test_a_receipt_claims_nothing_of_nodes_that_were_not_heard(
    async_client: AsyncClient,
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    mishear: Mishear,
    gap: Fields,
    where: str,
    why: str,
    count: int,
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    readers = [await subscribe(node, "news") for _ in range(count)]
    event = await publish(async_client)
    await until(lambda: node.history.head.number == event.number)
    await hand_over(*readers)
    monkeypatch.setattr(receipts, "HEARD_BY_ALL", timedelta(0))
    mishear(**gap)
    told = await receipt(async_client, event)
    outcome = "delivered" if count else "published, no reader"
    assert (told["state"], told["label"]) == ("partial", f"{outcome} {where}")
    assert told["notes"] == [why, "The event is in the log, where every node finds it."]
    mishear()
    assert (await receipt(async_client, event))["state"] == "complete"


async def test_a_receipt_that_no_node_has_is_not_given_up_while_one_is_silent(
    async_client: AsyncClient,
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    mishear: Mishear,
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client)
    node.hub.tallies.clear()
    monkeypatch.setattr(receipts, "HEARD_BY_ALL", timedelta(0))
    mishear(unresponsive=["b"])
    told = await receipt(async_client, event)
    assert told["state"] == "partial"
    assert told["label"] == "not counted on the nodes that answered"
    assert "No node counts" not in " ".join(told["notes"])


async def test_the_receipts_page_tells_the_event_and_leads_on(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, PUBLISH, "view_connection")
    event = await publish(async_client, topic="news.eu")
    page = await get(async_client, f"{URL}{event.number}/receipt/")
    assert f"{node.history.head.epoch}-{event.number}" in page
    for link in (
        f"{ADD}?again={event.number}",
        f"{ADD}?topic=news.eu",
        f"{URL}{event.number}/change/",
        "/admin/echo/connection/?topic=news.eu",
    ):
        assert f'href="{link}"' in page


async def test_an_event_that_is_gone_has_no_receipt(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    for path in ("7/receipt/", "7/receipt/now/"):
        assert (await async_client.get(URL + path)).status_code == 404


# --- the list and the event ------------------------------------------------------------


async def test_the_list_tells_deliveries_while_they_are_remembered(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    readers = [await subscribe(node, "news") for _ in range(3)]
    for number in range(2):
        await apublish("news", number)
    await until(lambda: len(readers[0].queue) == 2)
    node.hub.tallies.offered.popitem(last=False)
    page = await get(async_client, URL)
    assert re.findall(r'class="field-deliveries">([^<]*)<', page) == ["3", "–"]


@pytest.mark.parametrize(("gap", "where", "why"), GAPS)
@pytest.mark.parametrize("path", ["", "1/change/"])
async def test_deliveries_are_at_least_those_of_the_nodes_that_were_heard(
    async_client: AsyncClient,
    node: Node,
    mishear: Mishear,
    path: str,
    gap: Fields,
    where: str,
    why: str,
) -> None:
    await sign_in(async_client, VIEW)
    reader = await subscribe(node, "news")
    await apublish("news", 1)
    await until(lambda: not reader.is_idle)
    assert "≥" not in await get(async_client, URL + path)
    mishear(**gap)
    page = unescape(await get(async_client, URL + path))
    assert ">≥ 1<" in page
    assert f'<li class="warning">{why}</li>' in page


@pytest.mark.parametrize(
    "query", ["topic", "source__exact", "author", "topic__exact", "data__contains"]
)
async def test_a_nul_is_never_looked_for(
    async_client: AsyncClient, node: Node, query: str
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", 1)
    response = await async_client.get(f"{URL}?{query}=a%00b")
    assert (response.status_code, response["Location"]) == (302, f"{URL}?e=1")
    page = await get(async_client, response["Location"])
    assert "Null characters are not allowed." in page


async def test_an_event_is_found_by_its_id(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    for number in range(12):
        await apublish("news", number)
    page = await get(async_client, f"{URL}?q={node.history.head.epoch}-1")
    assert re.findall(rf'href="{URL}(\d+)/change/', page) == ["1"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=Müller", ["2"]),
        ("q=eve", ["3"]),
        ("topic=news.eu", ["2", "1"]),
        ("source__exact=command", ["3"]),
        ("topic=nowhere", []),
    ],
)
async def test_events_are_searched_and_filtered(
    async_client: AsyncClient, node: Node, query: str, found: list[str]
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news.eu", 1)
    await apublish("news.eu", "Frau Müller")
    await apublish("ops", 3, source=Event.Source.COMMAND, author="eve")
    page = await get(async_client, f"{URL}?{query}")
    assert re.findall(rf'href="{URL}(\d+)/change/', page) == found


def test_the_whole_log_is_not_counted_to_show_a_page_of_it(
    admin_client: Client,
) -> None:
    feed_publish("news", 1)
    feed_publish(STATS_TOPIC, 1)
    with CaptureQueriesContext(connection) as queries:
        assert admin_client.get(URL).status_code == 200
    asked = [query["sql"] for query in queries if "echo_event" in query["sql"]]
    assert len(asked) == 1
    assert not [sql for sql in asked if "COUNT" in sql or "DISTINCT" in sql]


async def test_the_figures_of_the_graph_are_listed_only_when_asked_for(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", "seen")
    await apublish(STATS_TOPIC, "a figure")
    page = await get(async_client, URL)
    assert "seen" in page
    assert "a figure" not in page
    assert "1 event" in page
    figures = await get(async_client, f"{URL}?topic={STATS_TOPIC}")
    assert "a figure" in figures


async def test_pages_of_the_list_are_as_many_as_the_topics_keep(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    for number in range(101):
        await apublish(f"topic{number % 3}", number)
    page = await get(async_client, f"{URL}?p=2")
    assert re.findall(rf'href="{URL}(\d+)/change/', page) == ["1"]
    assert "101 events" in page


async def test_an_events_page_tells_all_of_it(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", 1)
    await apublish("news", {"a": [SCRIPT]}, key="k", author="<b>eve")
    page = await get(async_client, f"{URL}2/change/")
    assert f">{node.history.head.epoch}-2<" in page
    assert f'href="{URL}1/change/"' in page
    pretty = '{\n  "a": [\n    "&lt;script&gt;alert(1)&lt;/script&gt;"\n  ]\n}'
    assert pretty.replace('"', "&quot;") in page
    assert "&lt;b&gt;eve" in page
    assert "35 bytes" in page


async def test_an_events_page_has_a_dash_for_what_there_is_not(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW)
    await apublish("news", 1)
    await until(lambda: node.history.head.number == 1)
    node.hub.tallies.offered.clear()
    page = await get(async_client, f"{URL}1/change/")
    assert page.count('<div class="readonly">–</div>') == 2
    assert "None" not in page


@pytest.mark.parametrize("path", ["", "1/change/", "1/receipt/", "1/history/"])
async def test_what_publishers_wrote_is_never_html(
    async_client: AsyncClient, node: Node, path: str
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    await apublish("news", SCRIPT, author=SCRIPT, key=SCRIPT)
    assert SCRIPT not in await get(async_client, URL + path)


async def test_events_are_never_changed_or_deleted(
    async_client: AsyncClient, node: Node
) -> None:
    user = await User.objects.acreate_superuser("root")
    await async_client.aforce_login(user)
    await apublish("news", 1)
    for path in ("1/change/", "1/delete/"):
        assert (await async_client.post(URL + path)).status_code == 403
    assert "delete_selected" not in await get(async_client, URL)


# --- who may ---------------------------------------------------------------------------

NEEDED = {
    "": {VIEW},
    "1/change/": {VIEW},
    "1/receipt/": {VIEW},
    "1/receipt/now/": {VIEW},
    "add/": {PUBLISH},
    "add/?again=1": {VIEW, PUBLISH},
    "readers/?topic=news": {PUBLISH},
}


@pytest.mark.parametrize("path", NEEDED)
@pytest.mark.parametrize(
    "permissions", [(), (VIEW,), (PUBLISH,), (VIEW, PUBLISH)], ids="+".join
)
async def test_pages_are_for_those_who_have_the_permission(
    async_client: AsyncClient, node: Node, path: str, permissions: tuple[str, ...]
) -> None:
    await sign_in(async_client, "view_node", *permissions)
    await apublish("news", 1)
    response = await async_client.get(URL + path)
    allowed = NEEDED[path] <= set(permissions)
    assert response.status_code == (200 if allowed else 403)


@pytest.mark.parametrize("path", ["add/", "preview/"])
async def test_who_may_only_view_publishes_nothing(
    async_client: AsyncClient, node: Node, path: str
) -> None:
    await sign_in(async_client, VIEW)
    assert (await async_client.post(URL + path, form())).status_code == 403
    assert not await Event.objects.aexists()


@pytest.mark.parametrize("path", [*NEEDED, "preview/"])
async def test_a_visitor_is_sent_to_sign_in(
    async_client: AsyncClient, node: Node, path: str
) -> None:
    response = await async_client.get(URL + path)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


async def test_who_may_only_publish_is_told_the_id(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, PUBLISH)
    page = text_of(await async_client.post(ADD, form(), follow=True))
    assert f"Published as {node.history.head.epoch}-1." in page
    assert '<form id="publish"' in page


@pytest.mark.parametrize("permissions", [(VIEW,), (VIEW, PUBLISH)], ids="+".join)
async def test_ways_to_publish_are_shown_to_those_who_may(
    async_client: AsyncClient, node: Node, permissions: tuple[str, ...]
) -> None:
    await sign_in(async_client, *permissions)
    await apublish("news", 1)
    for path in ("", "1/change/", "1/receipt/"):
        page = await get(async_client, URL + path)
        assert (f"{ADD}?again=1" in page) == (PUBLISH in permissions)
    assert ("Publish an event" in await get(async_client, URL)) == (
        PUBLISH in permissions
    )


async def test_a_form_without_its_csrf_token_is_refused(
    async_client: AsyncClient, node: Node
) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    await sign_in(client, VIEW, PUBLISH)
    for path in ("add/", "preview/"):
        assert (await client.post(URL + path, form())).status_code == 403
    assert not await Event.objects.aexists()


def test_a_key_that_is_too_long_is_refused_by_the_form() -> None:
    assert not PublishForm(form(key="k" * 101)).is_valid()
