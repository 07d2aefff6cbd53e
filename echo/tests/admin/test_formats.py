"""Numbers and times as the pages show them."""

import pytest

from echo.admin.formats import format_age


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h 0 min"),
        (86399, "23 h 59 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_an_age_has_at_most_two_units(seconds: float, told: str) -> None:
    assert format_age(seconds) == told
