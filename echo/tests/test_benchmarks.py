"""The benchmark's report: every row is measured, told in a table, and drawn."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import report
from bench.__main__ import Results, make_report
from bench.report import ROWS, Row
from bench.runs import Figure, plan

PLAIN = next(row for row in ROWS if row.name == "fanout")
GROWN = next(row for row in ROWS if row.name == "topics")


def test_every_row_of_the_report_is_measured_and_no_other() -> None:
    measured = {row for run in plan() for row in run.rows}
    assert measured == {row.name for row in ROWS}


def test_a_quick_run_leaves_out_no_row_but_the_largest() -> None:
    quick = {row for run in plan() if not run.is_heavy for row in run.rows}
    large = {"fanout-5000", "operator", "operator-list"}
    assert {row.name for row in ROWS} - quick == large


def test_a_row_shows_medians_and_why_a_figure_is_missing() -> None:
    lines, _ = make_report(
        {
            ("fanout", "uvicorn, ours", 0): [
                Figure(300_000, 3e-6, 0.25),
                Figure(200_000, 2e-6, 0.35),
                Figure(900_000, 4e-6, 0.15),
                "failed: Redis did not answer",
            ],
            ("fanout", "Go", 0): [Figure(100_000, 8e-6)],
            ("fanout", "Node ws", 0): ["no Node.js"],
        },
        [PLAIN],
    )
    assert "| uvicorn, ours | 300,000 | 3.00 × | 3 | 25% |" in lines
    assert "| Go | 100,000 | 1.00 × | 8 |  |" in lines
    assert "| Node ws | no Node.js | | | |" in lines
    assert (
        "uvicorn, ours failed: Redis did not answer (in 1 of 4 rounds; the figure is of "
        "the others)."
    ) in lines


def test_a_row_that_grows_has_a_column_for_each_step() -> None:
    lines, _ = make_report(
        {
            ("topics", "uvicorn, ours", 1): [Figure(0.25)],
            ("topics", "uvicorn, ours", 1000): [Figure(0.5)],
            ("topics", "daphne, ours", 1): ["failed: lost"],
        },
        [GROWN],
    )
    assert "| topics | 1 | 1,000 |" in lines
    assert "| uvicorn, ours | 0.25 | 0.50 |" in lines
    assert "| daphne, ours | failed: lost | – |" in lines


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("value", [0.0, 0.003, 1.0, 860_259.0])
def test_a_plot_names_every_contestant(row: Row, value: float) -> None:
    columns = (1, 10_000) if row.columns else (0,)
    results: Results = {
        (row.name, name, column): [Figure(value)]
        for name in ("uvicorn, ours", "A & B <C>")
        for column in columns
    }
    _, drawn = make_report(results, [row])
    texts = [element.text for element in ET.fromstring(drawn[row.name]).iter()]
    assert {"uvicorn, ours", "A & B <C>"} <= set(texts)


def test_a_row_without_any_figure_has_a_table_and_no_plot() -> None:
    lines, drawn = make_report({("fanout", "Go", 0): ["no Go"]}, [PLAIN])
    assert "| Go | no Go | | |" in lines
    assert not drawn
    assert not any("svg" in line for line in lines)


def test_what_is_written_by_hand_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{report.START}\nold\n{report.END}\nafter\n")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "IMAGES", tmp_path)
    report.write(["new", ""], {"fanout": "<svg/>"})
    assert page.read_text() == (
        f"before\n{report.START}\n\nnew\n\n{report.END}\nafter\n"
    )
    assert (tmp_path / "bench-fanout.svg").read_text() == "<svg/>"


def test_the_page_has_room_for_the_figures() -> None:
    before, found, rest = report.PAGE.read_text().partition(report.START)
    assert before
    assert found
    assert report.END in rest
