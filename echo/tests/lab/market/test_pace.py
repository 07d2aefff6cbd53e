"""Trades are due at their rate, which does not drift."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo.lab.market.pace import MAX_DUE, Pace


def test_a_late_trade_does_not_delay_those_after_it() -> None:
    pace = Pace(10, 100.0)
    assert pace.take(100.0) == 1
    assert pace.next_at == pytest.approx(100.1)
    assert pace.take(100.55) == 5
    assert pace.next_at == pytest.approx(100.6)


def test_what_a_sleeping_machine_missed_is_left_out() -> None:
    pace = Pace(10, 100.0)
    pace.take(100.0)
    assert pace.take(4000.0) == 1
    assert pace.next_at == pytest.approx(4000.1)


def test_a_publish_has_no_more_trades_than_it_may() -> None:
    pace = Pace(500, 100.0)
    assert pace.take(101.0) == MAX_DUE
    assert pace.take(101.0, at_most=1) == 1


@given(rate=st.floats(0.01, 500), begin=st.floats(0, 1e9))
def test_whoever_waits_until_the_next_trade_gets_it(rate: float, begin: float) -> None:
    pace = Pace(rate, begin)
    for taken in range(1, 50):
        assert pace.take(pace.next_at) >= 1
        assert pace.taken >= taken
