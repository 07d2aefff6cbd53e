"""A trade, and the event that carries it; symbols are words of topics."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from echo.protocol import quoted

# The topic of a symbol's trades is this, a dot and the symbol.
TOPIC = "market"
SYMBOL = re.compile(r"[A-Za-z0-9_-]{1,20}")
DEFAULT_SYMBOLS = ("ECHO", "FEED")
MAX_SYMBOLS = 10


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade of one instrument."""

    symbol: str
    time: datetime
    # A decimal, which is text on the wire: 0.1 + 0.2 is 0.3.
    price: Decimal
    size: Decimal
    side: str = ""  # "buy" or "sell": who came to the other; "" if unknown
    simulated: bool = True

    def event(self) -> dict[str, Any]:
        """Return the trade as ``publish_many`` takes it."""
        time = self.time.astimezone(UTC).isoformat(timespec="milliseconds")
        data = {
            "price": str(self.price),
            "size": whole_or_fraction(self.size),
            "side": self.side,
            "time": time.replace("+00:00", "Z"),
            "simulated": self.simulated,
        }
        return {"topic": f"{TOPIC}.{self.symbol}", "data": data}


def whole_or_fraction(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def check_symbol(text: str) -> str:
    """Return the symbol. Raises ValueError unless it is one short word of a topic."""
    if not SYMBOL.fullmatch(text):
        raise ValueError(
            "expected a symbol of 1 to 20 characters A-Z a-z 0-9 _ -, got "
            f"{quoted(text)}"
        )
    return text
