"""Draws the report's plots: small SVG, whose colours follow the reader's light or dark."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 800
ROW_HEIGHT, LABEL_WIDTH, VALUE_WIDTH = 26, 190, 110
PLOT_HEIGHT, MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 300, 70, 180, 16, 46
STYLE = """
svg { color-scheme: light dark; font: 14px system-ui, sans-serif; }
text { fill: #1f2328; } .quiet { fill: #59636e; }
.axis { stroke: #d1d9e0; } .other { fill: #afb8c1; stroke: #818b98; }
.ours { fill: #0969da; stroke: #0969da; } .line { fill: none; stroke-width: 2; }
.label-ours { fill: #0969da; font-weight: 600; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; } .quiet { fill: #9198a1; }
.axis { stroke: #3d444d; } .other { fill: #656c76; stroke: #9198a1; }
.ours { fill: #4493f8; stroke: #4493f8; } .label-ours { fill: #4493f8; }
}
"""
# Lines differ by their dashes as well, not by their colour alone.
DASHES = ("", "6 4", "2 3", "10 3 2 3")


def bars(values: Sequence[tuple[str, float, str]], title: str) -> str:
    """Return a chart of horizontal bars from (name, value, the value as text)."""
    most = max(value for _, value, _ in values) or 1
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    parts = []
    for place, (name, value, text) in enumerate(values):
        top = place * ROW_HEIGHT + 4
        length = max(1.0, value / most * room)
        kind = kind_of(name)
        parts.append(
            f'<text class="label-{kind}" x="{LABEL_WIDTH - 8}" y="{top + 14}" '
            f'text-anchor="end">{escape(name)}</text>'
            f'<rect class="{kind}" stroke="none" x="{LABEL_WIDTH}" y="{top}" '
            f'width="{length:.1f}" height="{ROW_HEIGHT - 7}"/>'
            f'<text x="{LABEL_WIDTH + length + 6:.1f}" y="{top + 14}">{escape(text)}</text>'
        )
    return svg(parts, len(values) * ROW_HEIGHT + 4, title)


def lines(
    series: Mapping[str, Mapping[int, float]],
    title: str,
    x_label: str,
    y_label: str,
) -> str:
    """Return a chart of one line for each name, over logarithmic axes."""
    columns = sorted({x for points in series.values() for x in points})
    values = [y for points in series.values() for y in points.values() if y > 0] or [1]
    low, high = (
        math.floor(math.log10(min(values))),
        math.ceil(math.log10(max(values))),
    )
    high = max(high, low + 1)
    right, bottom = WIDTH - MARGIN_RIGHT, PLOT_HEIGHT - MARGIN_BOTTOM

    def x_of(x: float) -> float:
        first, last = math.log10(columns[0]), math.log10(columns[-1])
        share = (math.log10(x) - first) / (last - first or 1)
        return MARGIN_LEFT + 12 + share * (right - MARGIN_LEFT - 24)

    def y_of(y: float) -> float:
        share = (math.log10(max(y, 10**low)) - low) / (high - low)
        return bottom - share * (bottom - MARGIN_TOP)

    parts = []
    for power in range(low, high + 1):
        y = y_of(10**power)
        parts.append(
            f'<path class="axis" d="M{MARGIN_LEFT} {y:.1f}H{right}"/>'
            f'<text class="quiet" x="{MARGIN_LEFT - 8}" y="{y + 5:.1f}" '
            f'text-anchor="end">{10.0**power:,g}</text>'
        )
    parts += [
        f'<text class="quiet" x="{x_of(x):.1f}" y="{bottom + 20}" '
        f'text-anchor="middle">{x:,}</text>'
        for x in columns
    ]
    parts.append(
        f'<text class="quiet" x="{(MARGIN_LEFT + right) / 2}" y="{bottom + 40}" '
        f'text-anchor="middle">{escape(x_label)}</text>'
        f'<text class="quiet" transform="translate(14 {(MARGIN_TOP + bottom) / 2}) '
        f'rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
    )
    ends = spread_out(
        {name: y_of(points[max(points)]) for name, points in series.items()}
    )
    for number, (name, points) in enumerate(series.items()):
        path = "L".join(
            f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in sorted(points.items())
        )
        kind, dash = kind_of(name), DASHES[number % len(DASHES)]
        parts.append(
            f'<path class="line {kind}" style="fill:none" stroke-dasharray="{dash}" '
            f'd="M{path}"/>'
            f'<text class="label-{kind}" x="{right + 8}" y="{ends[name] + 5:.1f}">'
            f"{escape(name)}</text>"
        )
        parts += [
            f'<circle class="{kind}" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3"/>'
            for x, y in points.items()
        ]
    return svg(parts, PLOT_HEIGHT, title)


def spread_out(places: Mapping[str, float]) -> dict[str, float]:
    """Return the places of labels, moved down where two would lie on each other."""
    found: dict[str, float] = {}
    last = -math.inf
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        last = found[name] = max(place, last + 18)
    return found


def kind_of(name: str) -> str:
    """Return the class of a contestant's marks: ours stand out."""
    return "ours" if "ours" in name or "node" in name else "other"


def svg(parts: Sequence[str], height: float, title: str) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'role="img"><title>{escape(title)}</title><style>{STYLE}</style>\n{body}\n</svg>\n'
    )
