"""Measures the site and its peers on this machine, side by side: ``python -m bench``.

The servers take turns, round after round, so that a busy moment of the machine affects all
of them. Prints the report, and writes it into docs/benchmarks.md once every row has been
measured.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence

from bench import report
from bench.report import ROWS, Row
from bench.runs import Figure, Redis, Run, plan
from bench.servers import LOAD_CORE, VAR
from echo.load.errors import LoadError, Unavailable
from echo.load.generator import build

ROUNDS = 3
FAILED = "failed"
HEAVY_ROUNDS = 2
# Where the figures of the last run are.
FIGURES = VAR / "bench-figures.json"
# By row, contestant and column: each round's figure, or why there is none.
Results = dict[tuple[str, str, int], list[Figure | str]]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add(
        "--only",
        action="append",
        choices=[row.name for row in ROWS],
        metavar="ROW",
        help="measure this row; may be repeated (default: all): %(choices)s",
    )
    add(
        "--server",
        action="append",
        default=[],
        metavar="TEXT",
        help="measure the servers whose name has this in it; may be repeated "
        "(default: all)",
    )
    add(
        "--rounds",
        type=int,
        default=ROUNDS,
        help="how often each is measured (default: %(default)s)",
    )
    add(
        "--quick",
        action="store_true",
        help="one round, without 5,000 connections and more and without stock consumers",
    )
    add(
        "--no-write",
        action="store_true",
        help="leave docs/benchmarks.md as it is (default: written if nothing is left out)",
    )
    add(
        "--redraw",
        action="store_true",
        help="measure nothing, and report the figures of the last run again",
    )
    return parser


def chosen_runs(options: argparse.Namespace) -> list[Run]:
    """Return the runs that the options ask for."""
    wanted = set(options.only or [row.name for row in ROWS])
    return [
        run
        for run in plan()
        if wanted & set(run.rows)
        and not (options.quick and run.is_heavy)
        and (not options.server or any(t in run.contestant for t in options.server))
    ]


def measure(runs: list[Run], rounds: int) -> Results:
    """Run all, round after round."""
    results: Results = {}
    missing = {run.name: run.missing() for run in runs}
    redis = Redis()
    try:
        for number in range(rounds):
            for run in runs:
                if run.is_heavy and number >= HEAVY_ROUNDS:
                    continue
                began = time.monotonic()
                reason = missing[run.name] or attempt(run, redis, results)
                if reason:
                    add_reason(results, run, reason)
                outcome = reason or f"{time.monotonic() - began:.0f} s"
                print(f"{number + 1}/{rounds} {run.name}: {outcome}", file=sys.stderr)
    finally:
        redis.close()
    return results


def attempt(run: Run, redis: Redis, results: Results) -> str:
    """Measure once; return what went wrong, or ""."""
    try:
        found = [result for result in run.measure(redis) if result.row in run.rows]
    except (LoadError, RuntimeError, OSError) as error:
        return f"{FAILED}: {str(error).splitlines()[0][:160]}"
    for row, contestant, figure, column in found:
        results.setdefault((row, contestant, column), []).append(figure)
    return ""


def add_reason(results: Results, run: Run, reason: str) -> None:
    """Put the reason where the figures of a run would be."""
    for row in ROWS:
        if row.name in run.rows:
            column = run.column[0] if row.columns else 0
            results.setdefault((row.name, run.contestant, column), []).append(reason)


def save_figures(results: Results, environment: list[str]) -> None:
    """Keep the figures and where they come from, for --redraw."""
    figures = [[*key, values] for key, values in results.items()]
    FIGURES.write_text(json.dumps({"environment": environment, "figures": figures}))


def load_figures() -> tuple[Results, list[str]]:
    """Return the figures of the last run, and where they come from."""
    saved = json.loads(FIGURES.read_text())
    results: Results = {
        (row, name, column): [v if isinstance(v, str) else Figure(*v) for v in values]
        for row, name, column, values in saved["figures"]
    }
    return results, saved["environment"]


def make_report(
    results: Results, rows: Sequence[Row]
) -> tuple[list[str], dict[str, str]]:
    """Return the report's lines, and its plots by row."""
    lines: list[str] = []
    drawn: dict[str, str] = {}
    for row in rows:
        rounds = {
            (name, column): figures
            for (of, name, column), figures in results.items()
            if of == row.name
        }
        if rounds:
            lines += report.section(row, rounds)
        if image := report.plot(row, rounds):
            drawn[row.name] = image
    return lines, drawn


def main(arguments: list[str]) -> int:
    options = make_parser().parse_args(arguments)
    try:
        build(VAR)
    except Unavailable as reason:
        print(f"expected a load generator, got none: {reason}", file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) < 2:
        print("expected a core for the load and one for the servers", file=sys.stderr)
        return 2
    rounds = 1 if options.quick else options.rounds
    if options.redraw:
        results, environment = load_figures()
    else:
        os.sched_setaffinity(0, {LOAD_CORE})
        results = measure(chosen_runs(options), rounds)
        environment = [*report.environment(rounds, min(rounds, HEAVY_ROUNDS))]
        save_figures(results, environment)
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    lines, drawn = make_report(results, rows)
    lines = [*environment, *lines]
    print("\n".join(lines))
    if not (options.quick or options.only or options.server or options.no_write):
        report.write(lines, drawn)
    # A peer that cannot be had here is no failure.
    reasons = [r for rounds in results.values() for r in rounds if isinstance(r, str)]
    return int(any(reason.startswith(FAILED) for reason in reasons))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
