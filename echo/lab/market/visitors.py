"""Runs one market for all visitors of a site, on whichever of its nodes one is asked for.

A row in the database is the lease: one node at most holds it. The node renews it while its
market runs, so that a node that dies makes room for another's within seconds. Each start
and each end is an event on the topic ``market``, from which every open page knows of it.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DatabaseError
from django.db.models.functions import Now

from echo.feed import apublish, apublish_many, before_shutdown, threads
from echo.lab.bounds import number, whole_number
from echo.lab.market.pace import Pace
from echo.lab.market.trade import DEFAULT_SYMBOLS, TOPIC
from echo.lab.market.walk import DEFAULT_VOLATILITY, Market
from echo.models import MarketLease

logger = logging.getLogger("echo.lab")

DURATION = timedelta(minutes=5)
# A few renewals may fail or be late before another node takes the lease.
LEASE = timedelta(seconds=15)
RENEWAL_SECONDS = 4.0
DEFAULT_RATE = 10
MAX_RATE = 20
MAX_VOLATILITY = 1.0
# The table's only row.
ROW = 1
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


# --- the lease -------------------------------------------------------------------------

# All times are the database's: the clocks of nodes differ.


def take_lease(holder: str) -> bool:
    """Take the lease unless somebody holds it; return True if it was taken."""
    MarketLease.objects.get_or_create(
        pk=ROW, defaults={"held_until": LONG_AGO, "ends_at": LONG_AGO}
    )
    # One statement: of two nodes that come at once, one finds the row changed.
    free = MarketLease.objects.filter(pk=ROW, held_until__lt=Now())
    return bool(
        free.update(holder=holder, held_until=Now() + LEASE, ends_at=Now() + DURATION)
    )


def renew_lease(holder: str) -> bool:
    """Hold the lease for longer; return False if it is over, or another's."""
    held = MarketLease.objects.filter(pk=ROW, holder=holder, ends_at__gt=Now())
    return bool(held.update(held_until=Now() + LEASE))


def release_lease(holder: str) -> None:
    """Give the lease back; no-op if it is another's."""
    MarketLease.objects.filter(pk=ROW, holder=holder).update(
        held_until=LONG_AGO, ends_at=LONG_AGO
    )


def read_end() -> datetime | None:
    """Return when the market that runs will end, or None if none runs."""
    rows = MarketLease.objects.filter(pk=ROW, held_until__gte=Now(), ends_at__gt=Now())
    return rows.values_list("ends_at", flat=True).first()


# --- the market ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settings:
    """What a visitor may choose."""

    rate: int  # trades a second, of all symbols
    volatility: float  # the standard deviation of one trade's change, in percent

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "Settings":
        """Return the settings of a request. Raises LabError."""
        return cls(
            whole_number(settings, "rate", 1, MAX_RATE, DEFAULT_RATE),
            number(settings, "volatility", 0, MAX_VOLATILITY, DEFAULT_VOLATILITY),
        )


# The markets that this process runs, one at most except for the moment after a lease was
# lost; kept until they end.
tasks: set[asyncio.Task[None]] = set()
# The event loops whose markets a shutdown ends.
watched: set[asyncio.AbstractEventLoop] = set()


async def start(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Start a market unless one runs; return whether it was, what trades, and until when.

    Raises LabError for settings out of range, and DatabaseError.
    """
    beginning = asyncio.create_task(begin(Settings.read(settings)), name="market")
    # A visitor who goes meanwhile must not leave a lease without a market.
    return await asyncio.shield(beginning)


async def begin(chosen: Settings) -> dict[str, Any]:
    """Take the lease and start a market, unless another has it: see ``start``."""
    holder = secrets.token_hex(16)
    started = await threads.upkeep.run(take_lease, holder)
    end = await threads.upkeep.run(read_end)
    if started:
        stop_before_shutdown()
        task = asyncio.create_task(run(holder, end, chosen), name="market")
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    return {"started": started, "symbols": DEFAULT_SYMBOLS, **state(end)}


def read_state() -> dict[str, Any]:
    """Return until when a market for visitors runs, as pages know it."""
    return state(read_end())


def state(end: datetime | None) -> dict[str, Any]:
    return {"until": end and end.isoformat(timespec="milliseconds")}


async def run(holder: str, end: datetime | None, settings: Settings) -> None:
    """Announce a market, let it trade until the lease is over, and announce its end."""
    try:
        await apublish(TOPIC, state(end))
        await trade(holder, settings)
    except DatabaseError as error:
        logger.warning("the market for visitors ends: %r", error)
    finally:
        with suppress(DatabaseError):  # else the lease runs out
            await threads.upkeep.run(release_lease, holder)
            await apublish(TOPIC, state(None))


async def trade(holder: str, settings: Settings) -> None:
    """Publish trades until the time is over, or the lease has been lost."""
    market = Market(DEFAULT_SYMBOLS, secrets.token_hex(8), settings.volatility)
    began_at = time.monotonic()
    pace = Pace(settings.rate, began_at)
    renew_at = began_at + RENEWAL_SECONDS
    while time.monotonic() < began_at + DURATION.total_seconds():
        due = pace.take(time.monotonic())
        now = datetime.now(UTC)
        await apublish_many([market.next(now).event() for _ in range(due)])
        await asyncio.sleep(pace.next_at - time.monotonic())
        if time.monotonic() >= renew_at:
            if not await threads.upkeep.run(renew_lease, holder):
                return
            renew_at = time.monotonic() + RENEWAL_SECONDS


def stop_before_shutdown() -> None:
    """Have a shutdown of this event loop's server end its markets."""
    loop = asyncio.get_running_loop()
    if loop not in watched:
        watched.add(loop)
        before_shutdown(stop)


async def stop() -> None:
    """End this event loop's markets, and wait until they have ended."""
    loop = asyncio.get_running_loop()
    ending = [task for task in tasks if task.get_loop() is loop]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
