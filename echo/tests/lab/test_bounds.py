"""Experiments are bounded: how many run at once, and what their settings may be."""

from typing import Any

import pytest

from echo.lab.bounds import LabError, Slots, number, one_of, whole_number


def test_a_process_runs_so_many_experiments_at_once_and_no_more() -> None:
    slots = Slots(2)
    with slots.slot():
        with slots.slot():
            with pytest.raises(LabError, match="at most 2 of these") as refused:
                slots.slot().__enter__()
            assert refused.value.status == 429
        with slots.slot():
            assert slots.running == 2
    assert slots.running == 0


def test_an_experiment_that_fails_gives_its_slot_back() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.slot():
        raise ZeroDivisionError
    assert slots.running == 0


def test_one_address_leaves_slots_for_others() -> None:
    slots = Slots(3, per_address=2)
    with slots.slot("192.0.2.1"), slots.slot("192.0.2.1"):
        with pytest.raises(LabError, match="at most 2 of these .* from one") as refused:
            slots.slot("192.0.2.1").__enter__()
        assert refused.value.status == 429
        with slots.slot("192.0.2.2"):
            assert slots.running == 3
    assert not slots.by_address


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", ""])
def test_a_proxy_that_hides_addresses_is_not_one_visitor(address: str) -> None:
    slots = Slots(3, per_address=1)
    with slots.slot(address), slots.slot(address):
        assert slots.running == 2


@pytest.mark.parametrize("value", [1, 7, 10])
def test_a_setting_in_its_range_is_taken(value: int) -> None:
    assert whole_number({"count": value}, "count", 1, 10, 5) == value
    assert number({"count": value}, "count", 1, 10, 5) == value


def test_a_missing_setting_has_its_default() -> None:
    assert whole_number({}, "count", 1, 10, 5) == 5
    assert number({}, "rate", 0.1, 10, 2.5) == 2.5
    assert one_of({}, "kind", ("text", "binary"), "text") == "text"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (11, "11"), (True, "bool"), ("5", "'5'"), (None, "none"), ([], "list")],
)
def test_any_other_setting_is_refused_with_its_range(value: Any, shown: str) -> None:
    with pytest.raises(LabError, match="count: expected a number from 1 to 10") as one:
        whole_number({"count": value}, "count", 1, 10, 5)
    with pytest.raises(LabError):
        number({"count": value}, "count", 1, 10, 5)
    assert shown in str(one.value)
    assert one.value.status == 400


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, 10**400])
def test_numbers_without_end_are_refused(value: Any) -> None:
    with pytest.raises(LabError, match="expected a number from 1 to 10"):
        number({"rate": value}, "rate", 1, 10, 5)


@pytest.mark.parametrize("value", ["audio", 1, None, {}])
def test_a_word_that_is_no_choice_is_refused_with_the_choices(value: Any) -> None:
    with pytest.raises(LabError, match="kind: expected one of text, binary, got"):
        one_of({"kind": value}, "kind", ("text", "binary"), "text")
