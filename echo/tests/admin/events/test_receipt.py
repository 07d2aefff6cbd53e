"""The receipt: what it counts, when it is final, and what it does not claim."""

import re
from datetime import timedelta

import pytest
from django.test import AsyncClient

from echo.admin.events import receipt as receipts
from echo.feed.cluster import Receipt, Survey
from echo.feed.node import Node
from echo.tests.admin.events.pages import (
    ADD,
    GAPS,
    PUBLISH,
    URL,
    VIEW,
    Degrade,
    Fields,
    get,
    hand_over,
    publish,
    receipt,
)
from echo.tests.admin.operators import sign_in
from echo.tests.feed.reading import subscribe, until

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_receipt_counts_deliveries(
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
    assert before["notes"] == ["1 connection has not received it yet."]
    assert re.fullmatch(r"[\d.]+ m?s", before["took"])
    await hand_over(slow)
    after = await receipt(async_client, event)
    assert after["delivered"] == "2 of 2 connections on 1 node"
    assert (after["value"], after["max"], after["notes"]) == (2, 2, [])


async def test_a_receipt_is_complete_after_the_settle_time(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    reader = await subscribe(node, "news")
    event = await publish(async_client)
    await until(lambda: not reader.is_idle)
    await hand_over(reader)
    monkeypatch.setattr(receipts, "SETTLE_TIME", timedelta(days=1))
    assert (await receipt(async_client, event))["state"] == "under-way"
    monkeypatch.setattr(receipts, "SETTLE_TIME", timedelta(0))
    assert (await receipt(async_client, event))["state"] == "complete"


async def test_a_receipt_waits_for_the_last_reader(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "SETTLE_TIME", timedelta(0))
    await sign_in(async_client, VIEW, PUBLISH)
    reader = await subscribe(node, "news")
    event = await publish(async_client)
    await until(lambda: not reader.is_idle)
    assert (await receipt(async_client, event))["state"] == "under-way"
    reader.close()
    left = await receipt(async_client, event)
    assert left["state"] == "complete"
    assert left["notes"] == ["1 connection received it from the log or has closed."]


async def test_a_receipt_explains_that_nothing_reads_the_topic(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "SETTLE_TIME", timedelta(0))
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client)
    await until(lambda: node.history.head.number == event.number)
    told = await receipt(async_client, event)
    assert (told["label"], told["delivered"]) == (
        "published, no reader",
        "0 of 0 connections on 1 node",
    )
    assert told["notes"][0].startswith("No connection read this topic")


async def test_a_receipt_without_a_count_says_so(
    async_client: AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "SETTLE_TIME", timedelta(0))
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client)
    node.hub.tallies.clear()
    told = await receipt(async_client, event)
    assert (told["state"], told["delivered"], told["took"]) == ("unknown", "–", "–")
    assert told["notes"][0].startswith("No node has counted this event's deliveries")


async def test_a_receipt_separates_queued_from_catching_up(
    async_client: AsyncClient, node: Node
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client)
    found = Receipt(9, 3, 5, 2, seconds=1.25, is_known=True)
    survey = Survey(found, nodes=["a", "b"], unresponsive=[])
    summary = receipts.summarize(event, survey)
    assert (summary.delivered, summary.took) == (
        "3 of 9 connections on 2 nodes",
        "1.25 s",
    )
    assert summary.notes == [
        "3 connections have not received it yet.",
        "2 connections are catching up from the log and will receive it.",
        "1 connection received it from the log or has closed.",
    ]


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(("gap", "where", "why"), GAPS)
async def test_an_incomplete_receipt_is_limited_to_the_nodes_that_answered(
    async_client: AsyncClient,
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    degrade: Degrade,
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
    monkeypatch.setattr(receipts, "SETTLE_TIME", timedelta(0))
    degrade(**gap)
    told = await receipt(async_client, event)
    outcome = "delivered" if count else "published, no reader"
    assert (told["state"], told["label"]) == ("partial", f"{outcome} {where}")
    assert told["notes"] == [why, "The event is in the log, where every node finds it."]
    degrade()
    assert (await receipt(async_client, event))["state"] == "complete"


async def test_a_receipt_stays_partial_while_a_node_is_silent(
    async_client: AsyncClient,
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    degrade: Degrade,
) -> None:
    await sign_in(async_client, VIEW, PUBLISH)
    event = await publish(async_client)
    node.hub.tallies.clear()
    monkeypatch.setattr(receipts, "SETTLE_TIME", timedelta(0))
    degrade(unresponsive=["b"])
    told = await receipt(async_client, event)
    assert told["state"] == "partial"
    assert told["label"] == "not counted on the nodes that answered"
    assert "No node has counted" not in " ".join(told["notes"])


async def test_the_receipts_page_links_to_the_event_and_on(
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
