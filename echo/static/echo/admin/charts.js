/** Draws the live graph: one uPlot for each chart, with one time axis and one cursor. */

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { FIGURES, figureFormat, GAP_SECONDS, History, timeRange } from "./graph.js";

const Y_AXIS_PIXELS = 52;
const X_AXIS_PIXELS = 24;
// The same on every chart, so that a moment stands at the same place on all of them.
const PADDING = [10, 8, 6, 0];
const MINUTES = [60, 120, 300, 600];
const FONT = "11px system-ui, sans-serif";
// The second line of a chart is told from the first without colour.
const DASH = [4, 3];

const language = document.documentElement.lang;
const format = figureFormat(language);
const short = new Intl.NumberFormat(language, { notation: "compact" });
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** A colour of the admin's, as its theme has it at this moment. */
function colour(name) {
  return () => getComputedStyle(document.documentElement).getPropertyValue(name);
}

export class Graph {
  /** `now` is the server's time in seconds, `timeZone` the one the admin tells time in. */
  constructor(element, { now, timeZone }) {
    this.history = new History();
    this.element = element;
    this.now = now;
    this.clock = new Intl.DateTimeFormat(language, {
      timeStyle: "medium",
      hourCycle: "h23",
      timeZone,
    });
    this.minute = new Intl.DateTimeFormat(language, {
      timeStyle: "short",
      hourCycle: "h23",
      timeZone,
    });
    const plots = [...element.querySelectorAll(".plot")];
    this.charts = plots.map((plot) => this.chart(plot, plot === plots.at(-1)));
    this.watchSize();
    this.watchTheme();
  }

  /** Takes an event of the feed; draws with the next frame, once for however many. */
  take({ sent_at: sentAt, data }) {
    this.history.take(Math.floor(Date.parse(sentAt) / 1000), data);
    this.drawn ??= requestAnimationFrame(() => {
      this.drawn = null;
      this.draw();
    });
  }

  draw() {
    if (!this.history.latest) return;
    const columns = this.history.columns();
    for (const { chart, places } of this.charts)
      chart.setData([columns[0], ...places.map((place) => columns[place + 1])]);
    const { second, figures } = this.history.latest;
    this.showNow(second > this.now - GAP_SECONDS ? figures : []); // what is replayed is old
  }

  /** Writes the current figures; without any, says that none are known. */
  showNow(figures = []) {
    FIGURES.forEach((name, place) => {
      const value = format(figures[place] ?? null);
      this.element.querySelector(`[data-now=${name}]`).textContent = value;
    });
  }

  /** Writes what the lines have where the cursor is, on every chart. */
  showThen({ cursor: { idxs }, data }, places, element) {
    const idx = idxs[1];
    const second = data[0][idx];
    if (second === undefined) element.textContent = "";
    else {
      const values = places.map((_, i) => format(data[i + 1][idx] ?? null));
      element.textContent = `${this.clock.format(second * 1000)} · ${values.join(" · ")}`;
    }
  }

  chart(plot, isLast) {
    const places = plot.dataset.figures.split(" ").map((name) => FIGURES.indexOf(name));
    const then = plot.closest(".chart").querySelector(".then");
    const options = {
      width: plot.clientWidth,
      height: plot.clientHeight,
      padding: PADDING,
      legend: { show: false },
      cursor: {
        sync: { key: "graph" },
        drag: { x: false, y: false },
        y: false,
        points: { size: 6 },
        dataIdx: near,
      },
      scales: {
        x: { range: () => this.range() },
        y: { range: (_chart, _lowest, highest) => [0, Math.max(1, highest * 1.1)] },
      },
      axes: [this.timeAxis(isLast), valueAxis()],
      series: [{}, ...places.map((_, i) => line(i))],
      hooks: { setCursor: [(chart) => this.showThen(chart, places, then)] },
    };
    return {
      plot,
      places,
      chart: new uPlot(options, [[], ...places.map(() => [])], plot),
    };
  }

  range() {
    const latest = Math.max(this.history.latest?.second ?? 0, this.now);
    return timeRange(latest, reducedMotion.matches);
  }

  /** The minutes, which only the last chart names. */
  timeAxis(isNamed) {
    return {
      ...axis(),
      size: isNamed ? X_AXIS_PIXELS : 0,
      incrs: MINUTES,
      values: (_chart, seconds) =>
        seconds.map((second) => (isNamed ? this.minute.format(second * 1000) : "")),
    };
  }

  watchSize() {
    const observer = new ResizeObserver(() => {
      for (const { plot, chart } of this.charts)
        chart.setSize({ width: plot.clientWidth, height: plot.clientHeight });
    });
    for (const { plot } of this.charts) observer.observe(plot);
  }

  watchTheme() {
    const redraw = () => {
      for (const { chart } of this.charts) chart.redraw();
    };
    const observer = new MutationObserver(redraw);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    reducedMotion.addEventListener("change", () => this.draw());
  }
}

/** The place that the cursor shows: none where the nearest is far, in a gap. */
function near({ data }, _line, idx, second) {
  return Math.abs(data[0][idx] - second) <= GAP_SECONDS ? idx : null;
}

function axis() {
  return {
    font: FONT,
    stroke: colour("--body-quiet-color"),
    grid: { stroke: colour("--hairline-color"), width: 1 },
    ticks: { show: false },
  };
}

function valueAxis() {
  return {
    ...axis(),
    size: Y_AXIS_PIXELS,
    gap: 6,
    space: 24,
    values: (_chart, values) => values.map((value) => short.format(value)),
  };
}

function line(place) {
  return {
    stroke: colour(place ? "--body-quiet-color" : "--link-fg"),
    width: 1.5,
    dash: place ? DASH : undefined,
    points: { size: 3, show: false, filter: isolated },
  };
}

/** The places whose neighbours are empty: without a point they would not be seen. */
function isolated({ data }, place) {
  const values = data[place];
  const isEmpty = (i) => (values[i] ?? null) === null;
  return values
    .map((_, i) => i)
    .filter((i) => !isEmpty(i) && isEmpty(i - 1) && isEmpty(i + 1));
}
