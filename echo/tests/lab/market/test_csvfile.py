"""Somebody's own trades: read as they are, or refused with line, expected and got."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo.lab.market.csvfile import BadLine, read_trades
from echo.lab.market.trade import Trade

HEADER = "time,price,size"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def read(*lines: str) -> list[Trade]:
    return list(read_trades([f"{line}\n" for line in lines], "ECHO"))


def test_a_line_is_a_trade() -> None:
    (trade,) = read(HEADER, "2026-01-01T12:00:00Z,101.25,3")
    assert trade == Trade(
        "ECHO", NOON, Decimal("101.25"), Decimal(3), "", simulated=False
    )
    assert trade.event()["data"]["simulated"] is False


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T12:00:00Z",
        "2026-01-01 12:00:00",
        "2026-01-01T20:00:00+08:00",
        "1767268800",
        "1767268800.0",
        "1767268800000",
    ],
)
def test_a_time_may_be_written_in_several_ways(time: str) -> None:
    assert read(HEADER, f"{time},1,1")[0].time == NOON


def test_columns_may_be_in_any_order_and_name_side_and_symbol() -> None:
    (trade,) = read(
        "Symbol, side ,size,price,time", "BTC,SELL,0.001,64000.5,1767268800"
    )
    assert (trade.symbol, trade.side) == ("BTC", "sell")
    assert trade.event()["data"]["size"] == 0.001


def test_empty_lines_are_skipped() -> None:
    assert len(read(HEADER, "", "1,1,1", "", "2,1,1")) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "yesterday,1,1",
            "time: expected ISO 8601 or seconds or milliseconds since 1970",
        ),
        ("9999-12-31T23:59:59-10:00,1,1", "time: expected ISO 8601"),
        ("1,0,1", "price: expected a number above 0"),
        ("1,-1,1", "price: expected a number above 0"),
        ("1,nan,1", "price: expected a number above 0"),
        ("1,1e5,1", "price: expected a number above 0"),
        ("1,1.123456789,1", "8 after it, got '1.123456789'"),
        ("1,1,", "size: expected a number above 0"),
        ("1,1", "expected 3 cells as in the header, got 2"),
        ('1,"1"x,1', "expected after"),
        (
            "0,1,1",
            "time: expected the order of time, got '0' after 1970-01-01T00:00:01",
        ),
    ],
)
def test_a_bad_line_is_named_by_its_number(line: str, reason: str) -> None:
    with pytest.raises(BadLine) as refusal:
        read(HEADER, "1,1,1", line)
    assert str(refusal.value).startswith("line 3: ")
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,1,1,bought,B", "side: expected buy or sell"),
        ("1,1,1,buy,B C", "expected a symbol of 1 to 20 characters"),
        ("1,1,1,buy,", "expected a symbol of 1 to 20 characters"),
    ],
)
def test_a_side_or_symbol_that_is_none_is_refused(line: str, reason: str) -> None:
    with pytest.raises(BadLine) as refusal:
        read(f"{HEADER},side,symbol", line.replace("a,", "1,"))
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    "header", ["", "1,2,3", "time,price", f"{HEADER},colour", f"{HEADER},size"]
)
def test_a_first_line_that_is_no_header_is_refused(header: str) -> None:
    with pytest.raises(BadLine, match="^line 1: expected a header with the columns"):
        read(header, "1,1,1")


@given(st.lists(st.text(max_size=40), max_size=5))
def test_whatever_a_line_has_it_is_a_trade_or_a_bad_line(lines: list[str]) -> None:
    with suppress(BadLine):
        assert all(trade.price > 0 for trade in read(HEADER, *lines))
