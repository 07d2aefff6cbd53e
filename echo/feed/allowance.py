"""Bounds how much history one address may read: a visitor's cost to the database.

All on one event loop, so nothing is locked. Reads that memory serves are free.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from django.conf import settings

from echo.protocol import TooMany

# What an address that was quiet may read at once: so many seconds' worth.
BURST_SECONDS = 5
# Addresses that are remembered; the one that has read nothing for longest is forgotten.
MAX_ADDRESSES = 10_000


class Allowance:
    """One address's reads: so many a second, and one at a time."""

    def __init__(self, now: float) -> None:
        # Reads that it may have at once, as of `counted_at`.
        self.left = float(burst())
        # When `left` was last brought up to date, by the clock.
        self.counted_at = now
        # Held during a read: one address never has all the threads.
        self.reading = asyncio.Lock()

    def count(self, now: float) -> None:
        """Add what has become allowed since the last call."""
        gained = (now - self.counted_at) * settings.FEED_HISTORY_READS_PER_SECOND
        self.left = min(burst(), self.left + gained)
        self.counted_at = now


class Allowances:
    """The addresses that have read history lately."""

    def __init__(self, clock: Callable[[], float]) -> None:
        # In seconds, monotonic.
        self.clock = clock
        # By address; the one that has read nothing for longest goes first.
        self.known: OrderedDict[str, Allowance] = OrderedDict()

    def of(self, address: str) -> Allowance:
        """Return an address's allowance as of now."""
        found = self.known.get(address)
        if found is None:
            found = self.known[address] = Allowance(self.clock())
            if len(self.known) > MAX_ADDRESSES:
                self.known.popitem(last=False)
        self.known.move_to_end(address)
        found.count(self.clock())
        return found

    def spend(self, address: str) -> None:
        """Count a read; raises TooMany when the address has had its share."""
        allowance = self.of(address)
        if allowance.left < 1:
            raise TooMany(
                f"{address} has had its {settings.FEED_HISTORY_READS_PER_SECOND} reads "
                "of history a second: try again in a second"
            )
        allowance.left -= 1

    @contextlib.asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait until the address may read once more, after its other reads."""
        async with self.of(address).reading:
            while (allowance := self.of(address)).left < 1:
                missing = 1 - allowance.left
                await asyncio.sleep(missing / settings.FEED_HISTORY_READS_PER_SECOND)
            allowance.left -= 1
            yield


def burst() -> int:
    """Return how many reads a quiet address may have at once."""
    return settings.FEED_HISTORY_READS_PER_SECOND * BURST_SECONDS
