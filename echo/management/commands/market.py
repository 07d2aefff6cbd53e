"""``manage.py market``: publishes trades, invented ones or somebody's own."""

import secrets
import signal
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from echo.feed import publish_many
from echo.lab.market.csvfile import BadLine, read_trades
from echo.lab.market.pace import MAX_DUE, Pace
from echo.lab.market.trade import (
    DEFAULT_SYMBOLS,
    MAX_SYMBOLS,
    TOPIC,
    Trade,
    check_symbol,
)
from echo.lab.market.walk import DEFAULT_VOLATILITY, MAX_VOLATILITY, Market
from echo.models import Event

DEFAULT_RATE = 10.0
RATES = (0.01, 500.0)
MAX_TRADES = 1_000_000

Batches = Iterator[list[Trade]]


class Command(BaseCommand):
    help = (
        "Publish simulated trades to market.<SYMBOL> until Ctrl-C, or trades from a CSV "
        "file; the page /market/ shows them as candles."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rate",
            type=number_in(*RATES),
            default=DEFAULT_RATE,
            metavar="TRADES",
            help="trades a second, of all symbols together, 0.01 to 500 "
            "(default: %(default)g)",
        )
        parser.add_argument(
            "--volatility",
            type=number_in(0, MAX_VOLATILITY),
            default=DEFAULT_VOLATILITY,
            metavar="PERCENT",
            help="the standard deviation of one trade's change, 0 to 5 "
            "(default: %(default)g)",
        )
        parser.add_argument(
            "--seed", help="the same seed, the same trades (default: a random one)"
        )
        parser.add_argument(
            "--symbols",
            type=symbols,
            default=",".join(DEFAULT_SYMBOLS),
            metavar="A,B",
            help="what is traded, in turn: 1 to 10 symbols (default: %(default)s)",
        )
        parser.add_argument(
            "--once",
            type=number_of_trades,
            metavar="N",
            help="publish N trades at once, as if they had come at the rate up to now, and "
            "end; with --csv the file's first N (default: go on)",
        )
        parser.add_argument(
            "--csv",
            metavar="FILE",
            help="play a file, or - for stdin: a header with the columns time, price, size "
            "and optionally side and symbol, then a line for each trade in the order of "
            "time. Times are ISO 8601 or seconds or milliseconds since 1970; without a "
            "column symbol it is the first of --symbols (default: simulate)",
        )

    def handle(self, *, csv: str | None, **options: Any) -> None:
        batches = simulate(**options) if csv is None else play(csv, **options)
        published = 0
        try:
            for batch in batches:
                with ctrl_c_afterwards():
                    self.publish(batch)
                    published += len(batch)
                self.show_progress(published)
        except KeyboardInterrupt:  # the usual end
            self.stderr.write("")
        except BadLine as error:
            raise CommandError(
                f"{csv}: {error}; {published} trades published"
            ) from None
        self.stderr.write(f"{published} trades published to {TOPIC}.*")

    def show_progress(self, published: int) -> None:
        """Show the number of trades so far on a terminal."""
        if self.stderr.isatty():
            self.stderr.write(f"\r{published} trades; Ctrl-C ends", ending="")
            self.stderr.flush()

    def publish(self, trades: list[Trade]) -> None:
        try:
            events = [trade.event() for trade in trades]
            publish_many(events, source=Event.Source.COMMAND)
        except DatabaseError as error:
            raise CommandError(
                f"cannot write to the log: {error}. Is DATABASE_URL that of the site, "
                "and has `manage.py migrate` been run?"
            ) from None


@contextmanager
def ctrl_c_afterwards() -> Iterator[None]:
    """Hold Ctrl-C back during the block: what has been published is counted."""
    is_pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal is_pressed
        is_pressed = True

    handler = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if is_pressed:
        raise KeyboardInterrupt


# --- where trades come from ------------------------------------------------------------


def simulate(
    symbols: list[str],
    seed: str | None,
    volatility: float,
    rate: float,
    once: int | None,
    **options: Any,
) -> Batches:
    """Yield invented trades: at the rate for ever, or ``once`` at once."""
    market = Market(symbols, seed or secrets.token_hex(8), volatility)
    if once is None:
        return paced(endless(market), rate)
    return batched(past(market, rate, once))


def endless(market: Market) -> Iterator[Trade]:
    """Yield trades that take place when they are asked for."""
    while True:
        yield market.next(datetime.now(UTC))


def past(market: Market, rate: float, count: int) -> Iterator[Trade]:
    """Yield trades that have taken place at the rate, the last of them now."""
    now = datetime.now(UTC)
    for left in range(count - 1, -1, -1):
        yield market.next(now - timedelta(seconds=left / rate))


def play(
    name: str, symbols: list[str], rate: float, once: int | None, **options: Any
) -> Batches:
    """Yield a CSV file's trades: at the rate, or the first ``once`` at once.

    A file is read through first, so that nothing is published if it has a bad line; from
    stdin the trades before the bad line are. Raises BadLine and CommandError.
    """
    if name == "-":
        trades = read_trades(sys.stdin, symbols[0])
    else:
        for _ in file_trades(name, symbols[0]):
            pass
        trades = file_trades(name, symbols[0])
    if once is not None:
        yield from batched(islice(trades, once))
    else:
        # From stdin one by one: to wait for more would hold up what has come.
        yield from paced(trades, rate, at_most=1 if name == "-" else MAX_DUE)


def file_trades(name: str, symbol: str) -> Iterator[Trade]:
    """Yield a file's trades. Raises BadLine, and CommandError if it cannot be read."""
    try:
        # Spreadsheets put a byte order mark first.
        with open(name, encoding="utf-8-sig", newline="") as lines:
            yield from read_trades(lines, symbol)
    except OSError as error:
        raise CommandError(f"cannot read {name}: {error.strerror}") from None


# --- when they are published -----------------------------------------------------------


def paced(trades: Iterator[Trade], rate: float, at_most: int = MAX_DUE) -> Batches:
    """Yield those trades that are due, whenever some are."""
    pace = Pace(rate, time.monotonic())
    while batch := list(islice(trades, pace.take(time.monotonic(), at_most))):
        yield batch
        time.sleep(max(0.0, pace.next_at - time.monotonic()))


def batched(trades: Iterator[Trade]) -> Batches:
    """Yield trades as many at once as one publish may have."""
    while batch := list(islice(trades, MAX_DUE)):
        yield batch


# --- arguments -------------------------------------------------------------------------


def symbols(text: str) -> list[str]:
    found = [part.strip() for part in text.split(",")]
    if not 1 <= len(set(found)) == len(found) <= MAX_SYMBOLS:
        raise ArgumentTypeError(
            f"expected 1 to {MAX_SYMBOLS} different symbols with commas between, got "
            f"{text[:60]!r}"
        )
    try:
        return [check_symbol(symbol) for symbol in found]
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def number_of_trades(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= MAX_TRADES or len(text) > 9:
        raise ArgumentTypeError(
            f"expected a whole number from 1 to {MAX_TRADES}, got {text[:60]!r}"
        )
    return int(text)


def number_in(lowest: float, highest: float) -> Callable[[str], float]:
    """Return an argument's type: a number, both bounds included."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= highest:  # NaN is in no range
            raise ArgumentTypeError(
                f"expected a number from {lowest:g} to {highest:g}, got {text[:60]!r}"
            )
        return value

    return number
