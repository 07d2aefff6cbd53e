/** Draws the live graph: one uPlot for each chart, with one time axis and one cursor. */

import { oncePerFrame } from "../site/schedule.js";
import uPlot from "../vendor/uplot/uPlot.esm.js";
import { FIGURES, figureFormat, GAP_SECONDS, Timeline, timeRange } from "./timeline.js";

const Y_AXIS_PIXELS = 52;
const X_AXIS_PIXELS = 24;
// The same on every chart, so that a moment has the same place on all of them.
const PADDING = [10, 8, 6, 0];
const MINUTES = [60, 120, 300, 600];
const FONT = "11px system-ui, sans-serif";
// Distinguishes the second line of a chart from the first without colour.
const DASH = [4, 3];

const language = document.documentElement.lang;
const format = figureFormat(language);
const short = new Intl.NumberFormat(language, { notation: "compact" });
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** Return a function to a colour of the admin's current theme. */
function colour(name) {
  return () => getComputedStyle(document.documentElement).getPropertyValue(name);
}

export class Graph {
  /** `now` is the server's time in seconds, `timeZone` that of the admin. */
  constructor(element, { now, timeZone }) {
    this.timeline = new Timeline();
    this.scheduleDraw = oncePerFrame(() => this.draw());
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

  /** Add an event of the feed; draw all new ones in the next frame. */
  add({ sent_at: sentAt, data }) {
    this.timeline.add(Math.floor(Date.parse(sentAt) / 1000), data);
    this.scheduleDraw();
  }

  draw() {
    if (!this.timeline.latest) return;
    const columns = this.timeline.columns();
    for (const { chart, columnIndexes } of this.charts)
      chart.setData([columns[0], ...columnIndexes.map((index) => columns[index + 1])]);
    const { second, figures } = this.timeline.latest;
    this.showNow(second > this.now - GAP_SECONDS ? figures : []); // a replay's are old
  }

  /** Show the current figures; without any, show that they are unknown. */
  showNow(figures = []) {
    FIGURES.forEach((name, index) => {
      const value = format(figures[index] ?? null);
      this.element.querySelector(`[data-now=${name}]`).textContent = value;
    });
  }

  /** Show the figures at the cursor. */
  showAtCursor({ cursor: { idxs }, data }, columnIndexes, element) {
    const idx = idxs[1];
    const second = data[0][idx];
    if (second === undefined) element.textContent = "";
    else {
      const values = columnIndexes.map((_, i) => format(data[i + 1][idx] ?? null));
      element.textContent = `${this.clock.format(second * 1000)} · ${values.join(" · ")}`;
    }
  }

  chart(plot, isLast) {
    const columnIndexes = plot.dataset.figures
      .split(" ")
      .map((name) => FIGURES.indexOf(name));
    const atCursor = plot.closest(".chart").querySelector(".at-cursor");
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
      series: [{}, ...columnIndexes.map((_, i) => line(i))],
      hooks: {
        setCursor: [(chart) => this.showAtCursor(chart, columnIndexes, atCursor)],
      },
    };
    return {
      plot,
      columnIndexes,
      chart: new uPlot(options, [[], ...columnIndexes.map(() => [])], plot),
    };
  }

  range() {
    const latest = Math.max(this.timeline.latest?.second ?? 0, this.now);
    return timeRange(latest, reducedMotion.matches);
  }

  /** Return the axis of minutes, which only the last chart labels. */
  timeAxis(isLabelled) {
    return {
      ...axis(),
      size: isLabelled ? X_AXIS_PIXELS : 0,
      incrs: MINUTES,
      values: (_chart, seconds) =>
        seconds.map((second) => (isLabelled ? this.minute.format(second * 1000) : "")),
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

/** Return the index that the cursor shows; null in a gap. */
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

function line(index) {
  return {
    stroke: colour(index ? "--body-quiet-color" : "--link-fg"),
    width: 1.5,
    dash: index ? DASH : undefined,
    points: { size: 3, show: false, filter: isolated },
  };
}

/** Return the indexes between two gaps, which no line would show. */
function isolated({ data }, index) {
  const values = data[index];
  const isEmpty = (i) => (values[i] ?? null) === null;
  return values
    .map((_, i) => i)
    .filter((i) => !isEmpty(i) && isEmpty(i - 1) && isEmpty(i + 1));
}
