"""The knobs in the query string of /echo: valid and invalid ones."""

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo.knobs import MAX_PARAMETERS, PARSERS, KnobError, Knobs
from echo.protocol import SENDABLE_CLOSE_CODES

CAP = 1024 * 1024
NAMES = [*PARSERS, "max_message_size"]
# A knob's text and the value that it stands for.
Pairs = st.SearchStrategy[tuple[str, Any]]


def parse(query: str | bytes) -> Knobs:
    query = query if isinstance(query, bytes) else query.encode()
    return Knobs.from_query(query, max_message_size=CAP)


def outcome(query: str | bytes) -> Knobs | KnobError:
    """Return the knobs, or the KnobError."""
    try:
        return parse(query)
    except KnobError as error:
        return error


def whole(lowest: int, highest: int) -> Pairs:
    return st.integers(lowest, highest).map(lambda number: (str(number), number))


def decimals(highest: float) -> Pairs:
    numbers = st.floats(0, highest).map(lambda number: f"{number:.6f}")
    return numbers.map(lambda text: (text, float(text)))


def in_unit(unit: str, per_second: int) -> Pairs:
    return st.integers(0, 10 * per_second).map(
        lambda number: (f"{number}{unit}", number / per_second)
    )


durations: Pairs = st.one_of(
    decimals(10),
    in_unit("s", 1),
    in_unit("ms", 1000),
    in_unit("us", 1_000_000),
    in_unit("µs", 1_000_000),
    in_unit("ns", 1_000_000_000),
    st.tuples(st.integers(0, 9), st.integers(0, 999)).map(
        lambda pair: (f"{pair[0]}s{pair[1]}ms", pair[0] + pair[1] / 1000)
    ),
)
close_codes: Pairs = st.sampled_from(
    [code for codes in SENDABLE_CLOSE_CODES for code in codes]
).map(lambda code: (str(code), code))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
counts = whole(0, 1_000_000)

VALID: dict[str, Pairs] = {
    "delay": durations,
    "jitter": decimals(1),
    "seed": whole(0, 2**63 - 1),
    "close_code": close_codes,
    "close_reason": texts.filter(lambda text: len(text.encode()) <= 123).map(
        lambda text: (text, text)
    ),
    "close_after": counts,
    "close_delay": durations,
    "drop_after": counts,
    "mute_after": counts,
    "hang": durations,
    "reject": whole(400, 599),
    "failure_rate": decimals(1),
    "max_message_size": whole(1, CAP),
    "rate": whole(1, 10_000),
    "subprotocol": st.sampled_from(["*", "chat", "v1.feed", "a!#$%&'+-^_`|~"]).map(
        lambda text: (text, text)
    ),
    "handshake": st.sampled_from([("1", True), ("0", False)]),
}
CLOSING = ("close_code", "close_reason", "close_after", "close_delay")


def without(*names: str) -> dict[str, Pairs]:
    return {name: pairs for name, pairs in VALID.items() if name not in names}


queries = st.one_of(
    st.fixed_dictionaries({}, optional=without("drop_after")),
    st.fixed_dictionaries({}, optional=without(*CLOSING)),
)


def test_every_knob_is_covered_here() -> None:
    assert VALID.keys() == set(NAMES)


@given(asked=queries)
def test_a_valid_query_means_what_it_says(asked: dict[str, tuple[str, Any]]) -> None:
    knobs = parse(urlencode({name: text for name, (text, _) in asked.items()}))
    for name, (_, value) in asked.items():
        got = getattr(knobs, name)
        assert got == (pytest.approx(value) if isinstance(value, float) else value)


@given(asked=queries)
def test_a_knob_that_is_not_given_keeps_its_default(
    asked: dict[str, tuple[str, Any]],
) -> None:
    knobs = parse(urlencode({name: text for name, (text, _) in asked.items()}))
    for name in {*NAMES} - {*asked, *CLOSING}:
        assert getattr(knobs, name) == getattr(parse(""), name)


without_digits = texts.filter(lambda text: not any(c in "0123456789" for c in text))
INVALID: dict[str, st.SearchStrategy[str]] = {
    "delay": without_digits
    | st.sampled_from(["10.001", "11s", "-1", "1m", "1 s", "1e0"]),
    "jitter": without_digits | st.sampled_from(["1.01", "-0.1", "1e-1", "50%"]),
    "seed": without_digits | st.sampled_from(["-1", str(2**63), "1.0", "0x1"]),
    "close_code": without_digits
    | st.sampled_from(["1004", "1005", "1006", "1015", "2999", "5000", "999", "01000"]),
    "close_reason": st.sampled_from(["x" * 124, "é" * 62]),
    "close_after": without_digits | st.sampled_from(["-1", "1000001", "1.5"]),
    "close_delay": without_digits | st.sampled_from(["10.5", "1h"]),
    "drop_after": without_digits | st.sampled_from(["-1", "1000001"]),
    "mute_after": without_digits | st.sampled_from(["-1", "1000001"]),
    "hang": without_digits | st.sampled_from(["10001ms", "-0.5s"]),
    "reject": without_digits | st.sampled_from(["399", "600", "200"]),
    "failure_rate": without_digits | st.sampled_from(["2", "1.0001"]),
    "max_message_size": without_digits | st.sampled_from(["0", str(CAP + 1), "1k"]),
    "rate": without_digits | st.sampled_from(["0", "10001", "0.5"]),
    "subprotocol": st.sampled_from(["", "a b", "a,b", "é", "a/b", '"a"']),
    "handshake": without_digits | st.sampled_from(["2", "01", "true"]),
}


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_malformed_value_is_refused_by_name(name: str, data: st.DataObject) -> None:
    text = data.draw(INVALID[name])
    with pytest.raises(KnobError, match=f"^{name}: expected .*, got "):
        parse(urlencode({name: text}))


@given(query=st.binary(max_size=200))
def test_arbitrary_bytes_parse_or_raise_knob_error(query: bytes) -> None:
    assert str(outcome(query))


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(NAMES), texts | st.from_regex(r"[-.0-9nuµms]{1,8}"))
    )
)
def test_knobs_with_arbitrary_values_parse_or_raise_knob_error(
    pairs: list[tuple[str, str]],
) -> None:
    result = outcome(urlencode(pairs))
    assert isinstance(result, Knobs) or any(name in str(result) for name, _ in pairs)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_knob_given_twice_is_refused_by_name(name: str, data: st.DataObject) -> None:
    text, _ = data.draw(VALID[name])
    with pytest.raises(KnobError, match=f"^{name} is given twice"):
        parse(urlencode([(name, text), (name, text)]))


@pytest.mark.parametrize("name", CLOSING)
@given(data=st.data())
def test_dropping_and_closing_contradict(name: str, data: st.DataObject) -> None:
    text, _ = data.draw(VALID[name])
    with pytest.raises(KnobError, match=f"drop_after and {name} contradict"):
        parse(urlencode({name: text, "drop_after": "1"}))


def test_a_close_code_alone_closes_at_once_without_a_reason() -> None:
    knobs = parse("close_code=1001")
    assert (knobs.close_after, knobs.close_delay, knobs.close_reason) == (0, 0.0, "")


def test_a_reason_alone_closes_normally() -> None:
    assert parse("close_reason=x").close_code == 1000


def test_unknown_parameters_are_listed_once_in_order() -> None:
    assert parse("b=1&delay=1s&a=2&b=3").ignored == ("b", "a")


def test_a_query_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(KnobError, match="expected percent-encoded UTF-8"):
        parse("close_reason=%ff")


def test_too_many_parameters_are_refused() -> None:
    parse("&".join(["x=1"] * MAX_PARAMETERS))
    with pytest.raises(KnobError, match=f"at most {MAX_PARAMETERS} parameters"):
        parse("&".join(["x=1"] * (MAX_PARAMETERS + 1)))


def test_a_long_value_is_cut_in_the_error() -> None:
    with pytest.raises(KnobError, match="got '7{40}…'$"):
        parse("delay=" + "7" * 5000)


@pytest.mark.parametrize(
    ("query", "faithful"),
    [
        ("", True),
        ("hang=1s&handshake=1&subprotocol=*&max_message_size=5&seed=1", True),
        ("delay=0s&jitter=1", True),
        ("delay=1ms", False),
        ("close_code=1000", False),
        ("drop_after=0", False),
        ("mute_after=0", False),
        ("rate=1", False),
    ],
)
def test_only_knobs_that_touch_messages_make_it_unfaithful(
    query: str, faithful: bool
) -> None:
    assert parse(query).is_faithful is faithful


@pytest.mark.parametrize(
    ("query", "offered", "selected"),
    [
        ("", ["a", "b"], None),
        ("subprotocol=*", ["a", "b"], "a"),
        ("subprotocol=*", [], None),
        ("subprotocol=b", ["a", "b"], "b"),
        ("subprotocol=c", ["a", "b"], None),
    ],
)
def test_a_subprotocol_is_selected_only_when_offered(
    query: str, offered: list[str], selected: str | None
) -> None:
    assert parse(query).select_subprotocol(offered) == selected


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("", {None}),
        ("reject=418", {418}),
        ("failure_rate=1", {503}),
        ("failure_rate=1&reject=429", {429}),
        ("failure_rate=0&reject=429", {None}),
        ("failure_rate=0.5", {None, 503}),
    ],
)
def test_the_share_of_handshakes_asked_for_is_refused(
    query: str, statuses: set[int | None]
) -> None:
    chance = parse("seed=7").random_generator()
    assert {parse(query).refusal(chance) for _ in range(100)} == statuses


def test_the_same_seed_gives_the_same_connection() -> None:
    knobs = parse("seed=3&failure_rate=0.5")
    first, second = knobs.random_generator(), knobs.random_generator()
    assert [first.random() for _ in range(9)] == [second.random() for _ in range(9)]


@given(asked=queries)
def test_the_settings_are_shown_whole(asked: dict[str, tuple[str, Any]]) -> None:
    knobs = parse(urlencode({name: text for name, (text, _) in asked.items()}))
    assert knobs.as_json().keys() == {*NAMES, "ignored"}
