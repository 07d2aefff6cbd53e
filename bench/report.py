"""The report: a table and a plot for each row, of the medians of all rounds."""

import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench import peers, plots
from bench.runs import Figure
from bench.servers import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
START, END = "<!-- figures: start -->", "<!-- figures: end -->"
PACKAGES = (
    "Django",
    "channels",
    "daphne",
    "twisted",
    "uvicorn",
    "uvloop",
    "websockets",
)
MICRO, MILLI = 1e6, 1e3
# A row's figures by contestant and column: each round's, or why there is none.
Rounds = Mapping[tuple[str, int], list[Figure | str]]
# The same once the rounds are summarized.
Figures = Mapping[tuple[str, int], Figure | str]


@dataclass(frozen=True)
class Row:
    """A row of the report."""

    name: str  # for --only
    title: str
    unit: str
    text: str  # what is measured
    digits: int = 0
    # The unit of the server's processor time, and how many of it are a second.
    cpu: tuple[str, float] | None = None
    columns: str = ""  # what its columns are, if it has several
    less_is_better: bool = False


DELIVERY = ("µs a delivery", MICRO)
ROWS = (
    Row(
        "fanout",
        "Ten events at once to 1,000 readers",
        "deliveries/s",
        "Ten events in one request, to 1,000 WebSockets; ours also commits them to its log "
        "(SQLite, `synchronous=FULL`). The time is that from the request to the last "
        "reader's last event.",
        cpu=DELIVERY,
    ),
    Row(
        "fanout-5000",
        "Ten events at once to 5,000 readers",
        "deliveries/s",
        "The same with 5,000 readers.",
        cpu=DELIVERY,
    ),
    Row(
        "single",
        "One event to 1,000 readers: the last one has it after",
        "ms",
        "From the request to the last reader, commit included.",
        digits=1,
        cpu=("ms an event", MILLI),
        less_is_better=True,
    ),
    Row(
        "echo",
        "Echo, 50 clients, 64 bytes",
        "messages/s",
        "Each client sends a message, waits for its echo, compares it, sends the next.",
        cpu=("µs a message", MICRO),
    ),
    Row(
        "handshakes",
        "Handshakes, 100 at a time",
        "handshakes/s",
        "1,000 WebSockets of the feed (`/feed/ws`), each open once its `hello` is there; the "
        "peers send none.",
        cpu=("µs a handshake", MICRO),
    ),
    Row(
        "publish",
        "`POST /feed/publish`, 8 clients, one event each",
        "events/s",
        "SQLite with `synchronous=FULL`; the events in the log are counted afterwards.",
        cpu=("µs an event", MICRO),
    ),
    Row(
        "poll",
        "`GET /feed/poll`, nothing new, 8 clients",
        "requests/s",
        "Short polls from the last event on.",
        cpu=("µs a request", MICRO),
    ),
    Row(
        "memory",
        "Memory a reader",
        "KB",
        "What the server's resident set grows by with 2,000 idle readers, for each.",
        digits=1,
        less_is_better=True,
    ),
    Row(
        "postgres",
        "PostgreSQL, 8 publishing processes",
        "events/s",
        "Events committed by `apublish`, with so many calls under way in each process; "
        "counted in the log afterwards. All processes and PostgreSQL share both cores.",
    ),
    Row(
        "own-topics",
        "An event with one reader among many connections",
        "ms of the event loop",
        "Each connection reads a topic of its own. What an event costs the loop, by the "
        "processor time of its thread.",
        digits=3,
        columns="connections",
        less_is_better=True,
    ),
    Row(
        "storm",
        "Reconnect storm",
        "s",
        "2,000 clients are cut, 500 events are published, and all come back at once and "
        "resume (`since`): until the last one has its last event. One that is refused with "
        "503 tries again a second later. One more event then shows that all are live, and "
        "that nothing was lost or doubled.",
        digits=2,
        cpu=("ms a client", MILLI),
        less_is_better=True,
    ),
    Row(
        "refusals",
        "Handshakes refused in the storm",
        "refusals",
        "How many of those 2,000 had to try again; a client may be refused several times.",
        less_is_better=True,
    ),
    Row(
        "readers",
        "The cost of a delivery as readers grow",
        "µs of the server's processor a delivery",
        "Ten events at once.",
        digits=1,
        columns="readers",
        less_is_better=True,
    ),
    Row(
        "topics",
        "The cost of an event as topics grow",
        "ms of the server's processor an event",
        "1,000 readers, each of one topic; an event on each topic in turn, publishing "
        "included.",
        digits=2,
        columns="topics",
        less_is_better=True,
    ),
    Row(
        "nodes",
        "One node and two",
        "deliveries/s",
        "Ten events at once to 1,000 readers, on one node or half of them on each of two, "
        "which share the core, the log and Redis.",
        cpu=DELIVERY,
    ),
    Row(
        "operator",
        "An operator who watches",
        "deliveries/s",
        "Ten events at once to 10,000 readers on uvicorn, with nobody watching, and with an "
        "operator who has the list of connections and the page of nodes open, both asked "
        "for every two seconds, and reads the figures of the graph.",
        cpu=DELIVERY,
    ),
    Row(
        "operator-list",
        "The operator's list of 10,000 connections",
        "ms",
        "From the request to the response, while the fan-out takes all of the server's core.",
        less_is_better=True,
    ),
)


def summarize(rounds: list[Figure | str]) -> Figure | str:
    """Return the medians of the rounds that have a figure, or why none has."""
    figures = [figure for figure in rounds if isinstance(figure, Figure)]
    if not figures:
        return str(rounds[0])
    # NaN, where something was not measured, stays NaN.
    return Figure(*(statistics.median(values) for values in zip(*figures, strict=True)))


def section(row: Row, rounds: Rounds) -> Iterator[str]:
    """Yield the lines of a row: what it is, its plot, its table, and what failed."""
    figures = {key: summarize(figures) for key, figures in rounds.items()}
    yield f"### {row.title}"
    yield ""
    yield f"{row.text} {row.unit}; {'less' if row.less_is_better else 'more'} is better."
    yield ""
    if any(isinstance(figure, Figure) for figure in figures.values()):
        yield f"![{row.title}](images/bench-{row.name}.svg)"
        yield ""
    yield from (grown_table if row.columns else plain_table)(row, figures)
    yield ""
    for (name, _), found in rounds.items():
        reasons = [reason for reason in found if isinstance(reason, str)]
        if 0 < len(reasons) < len(found):
            yield (
                f"{name} {reasons[0]} (in {len(reasons)} of {len(found)} rounds; the "
                "figure is of the others)."
            )
            yield ""


def plain_table(row: Row, figures: Figures) -> Iterator[str]:
    """Yield a line for each contestant; against Go, where that is one of them."""
    go = figures.get(("Go", 0))
    heads = [row.unit]
    if isinstance(go, Figure):
        heads.append("against Go")
    if row.cpu:
        heads += [f"server's processor, {row.cpu[0]}", "load busy"]
    yield f"| | {' | '.join(heads)} |"
    yield "|---" + "|---:" * len(heads) + "|"
    for (name, _), figure in figures.items():
        if isinstance(figure, str):
            yield f"| {name} | {figure}{' |' * len(heads)}"
            continue
        cells = [f"{figure.value:,.{row.digits}f}"]
        if isinstance(go, Figure):
            cells.append(f"{figure.value / go.value:.2f} ×")
        if row.cpu:
            cost = figure.cpu * row.cpu[1]
            cells.append(f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}")
            cells.append("" if math.isnan(figure.load) else f"{figure.load:.0%}")
        yield f"| {name} | {' | '.join(cells)} |"


def grown_table(row: Row, figures: Figures) -> Iterator[str]:
    """Yield a line for each contestant, with its figure in each column."""
    columns = sorted({column for _, column in figures})
    yield f"| {row.columns} | " + " | ".join(f"{column:,}" for column in columns) + " |"
    yield "|---" + "|---:" * len(columns) + "|"
    for name in dict.fromkeys(name for name, _ in figures):
        cells = (figures.get((name, column), "–") for column in columns)
        texts = (
            cell if isinstance(cell, str) else f"{cell.value:,.{row.digits}f}"
            for cell in cells
        )
        yield f"| {name} | {' | '.join(texts)} |"


def plot(row: Row, rounds: Rounds) -> str:
    """Return the row's plot, or "" if no contestant has a figure."""
    title = f"{row.title}, {row.unit}"
    figures = {key: summarize(found) for key, found in rounds.items()}
    known = {key: f.value for key, f in figures.items() if isinstance(f, Figure)}
    if not known:
        return ""
    if not row.columns:
        return plots.bars(
            [(name, v, f"{v:,.{row.digits}f}") for (name, _), v in known.items()], title
        )
    series: dict[str, dict[int, float]] = {}
    for (name, column), value in known.items():
        series.setdefault(name, {})[column] = value
    return plots.lines(series, title, row.columns, row.unit)


def environment(rounds: int, heavy_rounds: int) -> Iterator[str]:
    """Yield what was measured, where and when."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in cpuinfo if "model name" in x), "")
    yield (
        f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())}, medians of {rounds} "
        f"interleaved rounds ({heavy_rounds} of those with 5,000 connections and more and "
        f"of the stock consumers' fan-out): {model}, {os.cpu_count()} cores, Linux {platform.release()}. "
        "Each server has core 0; the load and Redis have core 1."
    )
    yield ""
    ours = [f"{name} {version(name)}" for name in PACKAGES]
    yield f"Python {sys.version.split()[0]}, {', '.join(ours)}; {', '.join(peers.versions())}."
    yield ""


def write(lines: list[str], drawn: Mapping[str, str]) -> None:
    """Replace the figures in the documentation, and the plots."""
    before, _, rest = PAGE.read_text().partition(START)
    after = rest.partition(END)[2]
    text = "\n".join(lines).strip()
    PAGE.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")
    for name, image in drawn.items():
        (IMAGES / f"bench-{name}.svg").write_text(image)
