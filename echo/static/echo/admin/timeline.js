/**
 * The figures of the live graph: ten minutes of the nodes' reports, one a second. Uses no
 * network and no DOM.
 */

export const WINDOW_SECONDS = 600;
// Missing seconds up to this are late timers; more are a time without reports.
export const GAP_SECONDS = 3;
// With reduced motion the time axis advances in steps instead of sliding.
const STEP_SECONDS = 60;

const sum = (values) => values.reduce((total, value) => total + value, 0);
// Every node sees the same events; the delays are those of the slowest node.
const highest = (values) => Math.max(...values);

/** How the reports of several nodes are merged, in the columns' order. */
const MERGES = {
  events_per_second: highest,
  deliveries_per_second: sum,
  connections: sum,
  delay_p50_ms: highest,
  delay_p99_ms: highest,
};
export const FIGURES = Object.keys(MERGES);
const NO_FIGURES = FIGURES.map(() => null);

/** Return one second's figures; null for those without a report. */
function merge(reports) {
  return FIGURES.map((name) => {
    const values = reports.map(({ data }) => data[name]).filter(Number.isFinite);
    return values.length ? MERGES[name](values) : null;
  });
}

/** The last ten minutes: one point for each second with a report. */
export class Timeline {
  constructor() {
    this.points = [];
  }

  get latest() {
    return this.points.at(-1) ?? null;
  }

  /**
   * Add a report on some nodes. Without a channel layer each node reports only itself:
   * the reports are merged, and the one of the second before stands in for a late one.
   */
  add(second, data) {
    if (!Number.isFinite(second) || !Array.isArray(data?.nodes)) return;
    const point = this.point(second);
    const isOther = ({ data: { nodes } }) => !nodes.some((n) => data.nodes.includes(n));
    point.reports = [...point.reports.filter(isOther), { second: point.second, data }];
    point.figures = merge(point.reports);
  }

  /** Return the point of a second; a node's slow clock does not move the axis back. */
  point(second) {
    const last = this.latest;
    if (last && second <= last.second) return last;
    const isFresh = (report) => second - report.second <= 1;
    const point = { second, reports: last?.reports.filter(isFresh) ?? [] };
    if (last) last.reports = [];
    this.points.push(point);
    const first = this.points.findIndex((p) => p.second > second - WINDOW_SECONDS);
    this.points.splice(0, first);
    return point;
  }

  /** Return the seconds, then a column for each figure; a null in all is a gap. */
  columns() {
    const columns = [[], ...FIGURES.map(() => [])];
    const addRow = (second, figures) =>
      [second, ...figures].forEach((value, i) => {
        columns[i].push(value);
      });
    let before = Number.POSITIVE_INFINITY;
    for (const { second, figures } of this.points) {
      if (second - before > GAP_SECONDS) addRow(before + 1, NO_FIGURES);
      addRow(second, figures);
      before = second;
    }
    return columns;
  }
}

/** Return the ends of the time axis, in seconds. */
export function timeRange(latest, isStepping) {
  const end = isStepping ? Math.ceil(latest / STEP_SECONDS) * STEP_SECONDS : latest;
  return [end - WINDOW_SECONDS, end];
}

/** Return a function that formats a figure with about three digits, null as "–". */
export function figureFormat(language) {
  const formats = [0, 1, 2].map(
    (digits) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }),
  );
  return (value) => {
    if (value === null) return "–";
    return formats[value < 10 ? 2 : value < 100 ? 1 : 0].format(value);
  };
}
