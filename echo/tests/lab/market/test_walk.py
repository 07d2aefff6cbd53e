"""Invented trades: the same for the same seed, and prices that a chart can show for ever."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from echo.lab.market.trade import Trade
from echo.lab.market.walk import MAX_VOLATILITY, TICK, Market

NOW = datetime(2026, 11, 22, 12, 0, 0, 345_678, tzinfo=UTC)


def trades(
    count: int, *symbols: str, seed: str = "1", volatility: float = 1
) -> list[Trade]:
    market = Market(symbols, seed, volatility)
    return list(islice(iter(lambda: market.next(NOW), None), count))


def test_the_same_seed_brings_the_same_trades() -> None:
    assert trades(100, "A", "B") == trades(100, "A", "B")
    assert trades(100, "A") != trades(100, "A", seed="2")


def test_symbols_trade_in_turn_and_each_by_itself() -> None:
    both = trades(100, "A", "B")
    assert [trade.symbol for trade in both[:4]] == ["A", "B", "A", "B"]
    assert both[::2] == trades(50, "A")


@given(seed=st.text(max_size=10), volatility=st.floats(0, MAX_VOLATILITY))
def test_a_price_is_a_whole_number_of_ticks_above_zero(
    seed: str, volatility: float
) -> None:
    for trade in trades(300, "A", seed=seed, volatility=volatility):
        assert trade.price >= TICK
        assert trade.price % TICK == 0
        assert trade.size >= 1
        assert trade.side in ("buy", "sell")


def test_the_wildest_walk_stays_where_a_chart_can_show_it() -> None:
    prices = [t.price for t in trades(100_000, "A", volatility=MAX_VOLATILITY)]
    assert min(prices) >= TICK
    assert max(prices) < 1_000_000


def test_without_volatility_the_price_stays() -> None:
    assert len({trade.price for trade in trades(100, "A", volatility=0)}) == 1


def test_an_event_has_decimals_as_text_and_the_time_in_milliseconds() -> None:
    trade = Trade("A", NOW, Decimal("101.20"), Decimal(3), "buy")
    assert trade.event() == {
        "topic": "market.A",
        "data": {
            "price": "101.20",
            "size": 3,
            "side": "buy",
            "time": "2026-11-22T12:00:00.345Z",
            "simulated": True,
        },
    }
