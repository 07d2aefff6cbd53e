"""Reads somebody's own trades from CSV: a header, then one line for each trade.

The columns, in any order: ``time`` (ISO 8601, without an offset UTC; or seconds or
milliseconds since 1970), ``price``, ``size``, and optionally ``side`` (buy or sell) and
``symbol``. Lines are in the order of time.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from echo.lab.market.trade import Trade, check_symbol
from echo.protocol import quoted

REQUIRED = ("time", "price", "size")
OPTIONAL = ("side", "symbol")
SIDES = ("buy", "sell", "")
AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,8})?")
UNIX_TIME = re.compile(r"[0-9]{1,13}(\.[0-9]{1,9})?")
# Seconds since 1970 have no more digits for three thousand years, milliseconds more since 1973.
MAX_SECONDS = 1e11


class BadLine(ValueError):
    """A line that is no trade; says its number, expected and got."""


@dataclass(slots=True)
class Lines:
    """The lines of a CSV file as trades."""

    # The columns' names, from the header.
    names: list[str]
    # The symbol of a trade where no column names it.
    symbol: str
    # The time of the line before.
    latest: datetime = field(default=datetime.min.replace(tzinfo=UTC))

    def trade(self, cells: list[str]) -> Trade:
        """Return a line's trade. Raises ValueError."""
        if len(cells) != len(self.names):
            raise ValueError(
                f"expected {len(self.names)} cells as in the header, got {len(cells)}"
            )
        line = dict(zip(self.names, map(str.strip, cells), strict=True))
        return Trade(
            check_symbol(line.get("symbol", self.symbol)),
            self.time(line["time"]),
            amount("price", line["price"]),
            amount("size", line["size"]),
            side(line.get("side", "")),
            simulated=False,
        )

    def time(self, text: str) -> datetime:
        time = parse_time(text)
        if time < self.latest:
            raise ValueError(
                f"time: expected the order of time, got {quoted(text)} after "
                f"{self.latest.isoformat()}: sort the lines"
            )
        self.latest = time
        return time


def read_trades(lines: Iterable[str], symbol: str) -> Iterator[Trade]:
    """Yield the trades of CSV lines as they come; ``symbol`` is for lines without one.

    Raises BadLine.
    """
    reader = csv.reader(lines, strict=True)
    try:
        file = Lines(check_header(next(reader, [])), symbol)
        for cells in reader:
            if cells:  # not an empty line
                yield file.trade(cells)
    except UnicodeDecodeError as error:
        raise BadLine(f"line {reader.line_num + 1}: expected UTF-8: {error}") from None
    except (csv.Error, ValueError) as error:
        raise BadLine(f"line {max(1, reader.line_num)}: {error}") from None


def check_header(cells: list[str]) -> list[str]:
    """Return the columns' names. Raises ValueError."""
    names = [cell.strip().lower() for cell in cells]
    known = set(REQUIRED) | set(OPTIONAL)
    if not set(REQUIRED) <= set(names) <= known or len(set(names)) < len(names):
        raise ValueError(
            "expected a header with the columns time, price, size and optionally side "
            f"and symbol, got {quoted(','.join(cells))}"
        )
    return names


def parse_time(text: str) -> datetime:
    """Return a time from ISO 8601 or from seconds or milliseconds since 1970."""
    try:
        if UNIX_TIME.fullmatch(text):
            seconds = float(text)
            scale = 1000 if seconds >= MAX_SECONDS else 1
            return datetime.fromtimestamp(seconds / scale, UTC)
        time = datetime.fromisoformat(text)
        # A time near year 1 or 9999 overflows in UTC.
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            "time: expected ISO 8601 or seconds or milliseconds since 1970, got "
            f"{quoted(text)}"
        ) from None


def amount(name: str, text: str) -> Decimal:
    """Return a positive decimal. Raises ValueError."""
    if not AMOUNT.fullmatch(text) or not (value := Decimal(text)):
        raise ValueError(
            f"{name}: expected a number above 0 with at most 12 digits before the point "
            f"and 8 after it, got {quoted(text)}"
        )
    return value


def side(text: str) -> str:
    if text.lower() not in SIDES:
        raise ValueError(f"side: expected buy or sell, got {quoted(text)}")
    return text.lower()
