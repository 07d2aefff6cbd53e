"""Each ready-made frame is what its table says, here and in both servers."""

import re
from itertools import groupby

import pytest

from echo.lab.examples import EXAMPLES, MISTAKES, VALID, Mistake, Valid, bytes_of
from echo.lab.frames import RULES, decode, encode
from echo.tests.lab.autobahn import CASES
from echo.tests.live import ROOT, LiveSite
from echo.tests.servers.frames import Connection, Opcode

CAP = 1024 * 1024
CONFORMANCE = ROOT / "docs" / "conformance.md"
TABLE = re.compile(r"<!-- mistakes: start -->\n(.*?)<!-- mistakes: end -->", re.DOTALL)
MISTAKE_OF_CASE = {case: mistake for mistake in MISTAKES for case in mistake.cases}


def close_code(connection: Connection) -> int:
    """Return the code of the close frame at the end, after what has been echoed."""
    end = connection.rest()[-1]
    assert end.opcode == Opcode.CLOSE
    return int.from_bytes(end.payload[:2], "big")


def test_an_example_has_one_name() -> None:
    assert len(EXAMPLES) == len(VALID) + len(MISTAKES)


@pytest.mark.parametrize("valid", VALID, ids=lambda valid: valid.name)
def test_a_valid_example_comes_back(site: LiveSite, valid: Valid) -> None:
    read = decode(bytes_of(valid), "client", CAP)
    assert [frame["errors"] for frame in read["frames"]] == [[] for _ in valid.frames]
    with Connection(site.port) as connection:
        connection.send(bytes_of(valid))
        answers = [connection.frame() for _ in valid.answer]
        assert [(answer.opcode, answer.payload) for answer in answers] == [
            *valid.answer
        ]
        ends = read["end"] is not None
        assert ends == (answers[-1].opcode == Opcode.CLOSE)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_ends_the_connection_with_its_code(
    site: LiveSite, mistake: Mistake
) -> None:
    end = decode(bytes_of(mistake), "client", CAP)["end"]
    assert (end["error"], end["close_code"]) == (mistake.rule, mistake.close_code)
    with Connection(site.port) as connection:
        connection.send(bytes_of(mistake))
        assert close_code(connection) == mistake.close_code


def test_there_is_a_mistake_for_each_rule() -> None:
    """All but the one that only a server can make."""
    assert {mistake.rule for mistake in MISTAKES} == RULES.keys() - {"masked"}


# --- Autobahn's cases ------------------------------------------------------------------


def test_each_mistake_of_autobahn_belongs_to_an_example() -> None:
    assert MISTAKE_OF_CASE.keys() == CASES.keys()
    assert sum(len(mistake.cases) for mistake in MISTAKES) == len(CASES)


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_of_autobahn_is_named_as_its_example(case: str) -> None:
    mistake = MISTAKE_OF_CASE[case]
    end = decode(b"".join(map(encode, CASES[case])), "client", CAP)["end"]
    assert (end["error"], end["close_code"]) == (mistake.rule, mistake.close_code)


def test_the_servers_answer_each_mistake_of_autobahn_as_its_example(
    site: LiveSite,
) -> None:
    for case, frames in CASES.items():
        with Connection(site.port) as connection:
            connection.send(*map(encode, frames))
            assert close_code(connection) == MISTAKE_OF_CASE[case].close_code, case


def shortened(cases: tuple[str, ...]) -> str:
    """Return the cases' names, with three and more in a row as a range."""
    parts = []
    places = enumerate(cases)
    rows = groupby(
        places,
        lambda at: (at[1].rpartition(".")[0], int(at[1].rpartition(".")[2]) - at[0]),
    )
    for _, row in rows:
        names = [name for _, name in row]
        if len(names) > 2:
            names = [f"{names[0]} – {names[-1]}"]
        parts += names
    return ", ".join(parts)


def mistake_table() -> str:
    lines = [
        "| mistake | rule | RFC 6455 | close code | Autobahn's cases |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{mistake.name}` | `{mistake.rule}` "
        f"| [{mistake.section}](https://www.rfc-editor.org/rfc/rfc6455#section-"
        f"{mistake.section}) | {mistake.close_code:d} "
        f"| {shortened(mistake.cases) or '–'} |"
        for mistake in MISTAKES
    ]
    return "\n".join([*lines, ""])


def test_the_page_lists_each_mistake_with_its_section() -> None:
    match = TABLE.search(CONFORMANCE.read_text())
    assert match
    assert match[1] == mistake_table(), f"write this:\n{mistake_table()}"


def test_the_page_offers_each_example() -> None:
    page = (ROOT / "templates" / "echo" / "protocol_frames_examples.html").read_text()
    assert re.findall(r'<option value="([^"]+)"', page) == [*EXAMPLES]


def test_the_page_has_a_text_for_each_rule() -> None:
    page = (ROOT / "templates" / "echo" / "protocol_frames_texts.html").read_text()
    names = re.findall(r'data-text="error_(\w+)"', page)
    assert [name.replace("_", "-") for name in names] == [*RULES]
