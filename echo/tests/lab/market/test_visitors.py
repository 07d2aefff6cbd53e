"""One market for all visitors: the lease, its end, and what pages know of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db.models.functions import Now
from django.utils import timezone

from echo.lab.bounds import LabError
from echo.lab.market import visitors
from echo.lab.market.symbols import list_symbols
from echo.models import Event, MarketLease


@pytest.fixture
def lease(transactional_db: None) -> None:
    assert visitors.take_lease("first")


def change_lease(**times: timedelta) -> None:
    """Set the lease's times, as differences from now."""
    changed: Any = {name: Now() + difference for name, difference in times.items()}
    MarketLease.objects.update(**changed)


# --- the lease -------------------------------------------------------------------------


def test_a_lease_that_is_held_is_not_taken(lease: None) -> None:
    assert not visitors.take_lease("second")
    end = visitors.read_end()
    assert end is not None
    assert timedelta(minutes=4) < end - timezone.now() < timedelta(minutes=6)


def test_a_lease_that_was_given_back_is_free(lease: None) -> None:
    visitors.release_lease("second")  # is not theirs
    assert not visitors.take_lease("second")
    visitors.release_lease("first")
    assert visitors.read_end() is None
    assert visitors.take_lease("second")


def test_a_lease_that_nobody_renews_runs_out(lease: None) -> None:
    change_lease(held_until=-timedelta(seconds=1))
    assert visitors.read_end() is None
    assert visitors.take_lease("second")
    assert not visitors.renew_lease("first")
    assert visitors.renew_lease("second")


def test_a_renewal_holds_the_lease_but_not_beyond_its_end(lease: None) -> None:
    change_lease(held_until=timedelta(seconds=1))
    assert visitors.renew_lease("first")
    assert MarketLease.objects.filter(
        held_until__gt=Now() + visitors.LEASE / 2
    ).exists()
    change_lease(ends_at=-timedelta(seconds=1))
    assert not visitors.renew_lease("first")


# --- the market ------------------------------------------------------------------------


@pytest.fixture
async def markets(transactional_db: None) -> AsyncIterator[set[asyncio.Task[None]]]:
    """The markets of this process, which end with the test."""
    yield visitors.tasks
    await visitors.stop()
    assert not visitors.tasks


read_state = sync_to_async(visitors.read_state)


async def count_trades() -> int:
    return await Event.objects.filter(topic__startswith="market.").acount()


async def wait_for_trades(more_than: int) -> None:
    async with asyncio.timeout(60):
        while await count_trades() <= more_than:  # noqa: ASYNC110 -- tables have no event
            await asyncio.sleep(0.01)


async def notices() -> list[str]:
    rows = Event.objects.filter(topic="market").order_by("number")
    return [data async for data in rows.values_list("data", flat=True)]


async def test_a_market_trades_and_is_announced(markets: set[Any]) -> None:
    started = await visitors.start({"rate": 20})
    assert started["started"]
    assert await read_state() == {"until": started["until"]}
    await wait_for_trades(3)
    assert await notices() == [f'{{"until":"{started["until"]}"}}']


async def test_of_starts_at_once_one_starts_a_market(markets: set[Any]) -> None:
    answers = await asyncio.gather(*(visitors.start({}) for _ in range(5)))
    assert sorted(answer["started"] for answer in answers) == [False] * 4 + [True]
    assert len({answer["until"] for answer in answers}) == 1
    assert len(markets) == 1


async def test_a_stopped_market_is_announced_and_makes_room(markets: set[Any]) -> None:
    await visitors.start({})
    await wait_for_trades(0)
    await visitors.stop()
    assert (await notices())[-1] == '{"until":null}'
    assert (await visitors.start({}))["started"]


async def test_a_market_whose_lease_is_another_s_ends(
    markets: set[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visitors, "RENEWAL_SECONDS", 0.0)
    await visitors.start({"rate": 20})
    (task,) = markets
    await MarketLease.objects.aupdate(holder="another")
    async with asyncio.timeout(60):
        await task
    assert await MarketLease.objects.filter(holder="another").aexists()
    assert await read_state() != {"until": None}


async def test_a_market_ends_by_itself(
    markets: set[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visitors, "DURATION", timedelta(seconds=0.3))
    await visitors.start({"rate": 20})
    (task,) = markets
    async with asyncio.timeout(60):
        await task
    assert await read_state() == {"until": None}
    assert (await notices())[-1] == '{"until":null}'


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rate": 0}, "rate: expected a number from 1 to 20, got 0"),
        ({"rate": 21}, "rate: expected a number from 1 to 20, got 21"),
        ({"rate": "10"}, "rate: expected a number from 1 to 20, got '10'"),
        ({"volatility": 1.5}, "volatility: expected a number from 0 to 1, got 1.5"),
    ],
)
async def test_a_setting_out_of_range_is_refused(
    markets: set[Any], settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(LabError) as refusal:
        await visitors.start(settings)
    assert str(refusal.value) == reason
    assert not markets


async def test_the_symbols_that_have_traded_are_offered(markets: set[Any]) -> None:
    offer = sync_to_async(list_symbols)
    assert await offer() == ["ECHO", "FEED"]
    for topic in ["market.B", "market.A", "market", "market.A.b", "MARKET.c", "news"]:
        await visitors.apublish(topic, {})
    assert await offer() == ["A", "B", "ECHO", "FEED"]
    await visitors.apublish("market.FEED", {})
    assert await offer() == ["FEED", "A", "B", "ECHO"]
