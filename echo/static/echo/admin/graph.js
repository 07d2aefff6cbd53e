/**
 * The figures of the live graph: ten minutes of what the nodes tell of each second.
 * Knows no network and no DOM.
 */

export const WINDOW_SECONDS = 600;
// Missing seconds up to this are late timers; beyond it nobody watched.
export const GAP_SECONDS = 3;
// With reduced motion the time axis goes on in steps instead of sliding.
export const STEP_SECONDS = 60;

const sum = (values) => values.reduce((total, value) => total + value, 0);
// Every node sees the same events; and of the delays it is the slowest node's that hurts.
const highest = (values) => Math.max(...values);

/** How one second's figures of several publishers become one, in the columns' order. */
const MERGED = {
  events_per_second: highest,
  deliveries_per_second: sum,
  connections: sum,
  delay_p50_ms: highest,
  delay_p99_ms: highest,
};
export const FIGURES = Object.keys(MERGED);
const NOTHING = FIGURES.map(() => null);

/** One second's figures; null for what nobody told. */
function merged(reports) {
  return FIGURES.map((name) => {
    const values = reports.map(({ data }) => data[name]).filter(Number.isFinite);
    return values.length ? MERGED[name](values) : null;
  });
}

/** The last ten minutes: one point for each second in which somebody told something. */
export class History {
  constructor() {
    this.points = [];
  }

  get latest() {
    return this.points.at(-1) ?? null;
  }

  /**
   * Takes what some nodes tell of a second. Without a channel layer each node tells of
   * itself alone: they are added up, and one that is late is taken as a second ago.
   */
  take(second, data) {
    if (!Number.isFinite(second) || !Array.isArray(data?.nodes)) return;
    const point = this.point(second);
    const isOther = ({ data: { nodes } }) => !nodes.some((n) => data.nodes.includes(n));
    point.reports = [...point.reports.filter(isOther), { second: point.second, data }];
    point.figures = merged(point.reports);
  }

  /** The point of a second; the clocks of several nodes never take the axis back. */
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

  /** The seconds, then a column for each figure; a null in all of them is a gap. */
  columns() {
    const columns = [[], ...FIGURES.map(() => [])];
    const add = (second, figures) =>
      [second, ...figures].forEach((value, i) => {
        columns[i].push(value);
      });
    let before = Number.POSITIVE_INFINITY;
    for (const { second, figures } of this.points) {
      if (second - before > GAP_SECONDS) add(before + 1, NOTHING);
      add(second, figures);
      before = second;
    }
    return columns;
  }
}

/** The ends of the time axis. */
export function timeRange(latest, isStepping) {
  const end = isStepping ? Math.ceil(latest / STEP_SECONDS) * STEP_SECONDS : latest;
  return [end - WINDOW_SECONDS, end];
}

/** A function that writes a figure with about three digits, and "–" for none. */
export function figureFormat(language) {
  const formats = [0, 1, 2].map(
    (digits) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }),
  );
  return (value) => {
    if (value === null) return "–";
    return formats[value < 10 ? 2 : value < 100 ? 1 : 0].format(value);
  };
}
