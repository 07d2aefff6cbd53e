"""Invents trades: a seeded random walk for each symbol."""

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import cycle
from random import Random

from echo.lab.market.trade import Trade

# The smallest step of a price, and the lowest price.
TICK = Decimal("0.01")
OPENING_TICKS = (4_000, 16_000)
# The standard deviation of one trade's change, in percent.
DEFAULT_VOLATILITY = 0.05
MAX_VOLATILITY = 5.0
# Each trade keeps so much of the distance to the opening price: without this pull a walk
# ends, sooner or later, where no chart can show it.
PULL = 0.999
MEAN_SIZE = 8


class Walk:
    """The random walk of one symbol: its price changes by factors, and never reaches zero."""

    def __init__(self, symbol: str, seed: str, volatility: float) -> None:
        self.symbol = symbol
        # The standard deviation of a trade's change, in percent.
        self.volatility = volatility
        # The symbol's own: its trades are the same whichever other symbols there are.
        self.chances = Random(f"{seed} {symbol}")
        # By the name only: a market that starts later goes on near where one has ended.
        self.opening = Random(symbol).uniform(*OPENING_TICKS)
        # The logarithm of the price over the opening price.
        self.distance = 0.0

    def next(self, time: datetime) -> Trade:
        """Return the next trade."""
        change = self.chances.gauss(0, self.volatility / 100)
        self.distance = self.distance * PULL + change
        ticks = max(1, round(self.opening * math.exp(self.distance)))
        size = 1 + int(self.chances.expovariate(1 / MEAN_SIZE))
        side = "buy" if change > 0 else "sell"
        return Trade(self.symbol, time, ticks * TICK, Decimal(size), side)


class Market:
    """The walks of several symbols, which trade in turn."""

    def __init__(
        self,
        symbols: Sequence[str],
        seed: str,
        volatility: float = DEFAULT_VOLATILITY,
    ) -> None:
        self.turns = cycle([Walk(symbol, seed, volatility) for symbol in symbols])

    def next(self, time: datetime) -> Trade:
        """Return the next trade of the symbol whose turn it is."""
        return next(self.turns).next(time)
