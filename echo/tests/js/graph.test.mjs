import assert from "node:assert/strict";
import { test } from "node:test";
import {
  FIGURES,
  figureFormat,
  GAP_SECONDS,
  History,
  timeRange,
  WINDOW_SECONDS,
} from "../../static/echo/admin/graph.js";

const FIRST = 1_800_000_000;

const told = (nodes, connections = 1, more = {}) => ({
  nodes,
  events_per_second: 10,
  deliveries_per_second: 100,
  connections,
  delay_p50_ms: 1,
  delay_p99_ms: 2,
  ...more,
});

/** A history that was told the same at each of these seconds. */
function heard(...seconds) {
  const history = new History();
  for (const second of seconds) history.take(FIRST + second, told(["a"]));
  return history;
}

const current = (history) =>
  Object.fromEntries(FIGURES.map((name, i) => [name, history.latest.figures[i]]));

test("each second is one point, and each figure a column", () => {
  const [seconds, ...figures] = heard(0, 1).columns();
  assert.deepEqual(seconds, [FIRST, FIRST + 1]);
  assert.deepEqual(figures, [
    [10, 10],
    [100, 100],
    [1, 1],
    [1, 1],
    [2, 2],
  ]);
});

test("nodes that tell of themselves alone are put together", () => {
  const history = new History();
  history.take(FIRST, told(["a"], 3, { delay_p99_ms: 7 }));
  history.take(FIRST, told(["b"], 4, { events_per_second: 11, delay_p99_ms: 5 }));
  assert.deepEqual(current(history), {
    events_per_second: 11, // both have seen the same events
    deliveries_per_second: 200,
    connections: 7,
    delay_p50_ms: 1,
    delay_p99_ms: 7,
  });
});

test("what a node tells twice in a second counts once", () => {
  const history = new History();
  history.take(FIRST, told(["a", "b"], 7));
  history.take(FIRST, told(["b"], 4));
  assert.equal(current(history).connections, 4);
});

test("a node that is late is taken as a second ago, and then as gone", () => {
  const history = new History();
  history.take(FIRST, told(["a"], 3));
  history.take(FIRST, told(["b"], 4));
  history.take(FIRST + 1, told(["a"], 5));
  assert.equal(current(history).connections, 9);
  history.take(FIRST + 2, told(["a"], 5));
  assert.equal(current(history).connections, 5);
});

test("a node's slow clock does not take the axis back", () => {
  const history = new History();
  history.take(FIRST + 5, told(["a"], 3));
  history.take(FIRST, told(["b"], 4));
  assert.deepEqual(history.columns()[0], [FIRST + 5]);
  assert.equal(current(history).connections, 7);
});

test("a few missing seconds are late timers", () => {
  const [seconds] = heard(0, GAP_SECONDS).columns();
  assert.deepEqual(seconds, [FIRST, FIRST + GAP_SECONDS]);
});

test("where nobody watched is a gap in every line", () => {
  const [seconds, ...figures] = heard(0, GAP_SECONDS + 1).columns();
  assert.deepEqual(seconds, [FIRST, FIRST + 1, FIRST + GAP_SECONDS + 1]);
  for (const column of figures) assert.equal(column[1], null);
});

test("no more than the window is kept", () => {
  const history = heard(...Array(3 * WINDOW_SECONDS).keys());
  assert.equal(history.points.length, WINDOW_SECONDS);
  assert.equal(history.points[0].second, FIRST + 2 * WINDOW_SECONDS);
  const reports = history.points.flatMap((point) => point.reports);
  assert.equal(reports.length, 1);
});

test("a long gap leaves only what is after it", () => {
  assert.deepEqual(heard(0, 2 * WINDOW_SECONDS).columns()[0], [
    FIRST + 2 * WINDOW_SECONDS,
  ]);
});

test("a figure that nobody could tell is none", () => {
  const history = new History();
  history.take(FIRST, told(["a"], 1, { delay_p50_ms: null, delay_p99_ms: "fast" }));
  assert.equal(current(history).delay_p50_ms, null);
  assert.equal(current(history).delay_p99_ms, null);
});

test("what is no figures at all is left out", () => {
  const history = new History();
  for (const data of [null, "x", 1, [], {}, { nodes: "a" }]) history.take(FIRST, data);
  history.take(Number.NaN, told(["a"]));
  assert.equal(history.latest, null);
  assert.deepEqual(history.columns(), [[], ...FIGURES.map(() => [])]);
});

test("the time axis slides, or goes on in steps", () => {
  assert.deepEqual(timeRange(FIRST + 5, false), [
    FIRST + 5 - WINDOW_SECONDS,
    FIRST + 5,
  ]);
  const step = timeRange(FIRST + 5, true);
  assert.deepEqual(timeRange(FIRST + 50, true), step);
  assert.ok(step[1] >= FIRST + 50 && step[1] - step[0] === WINDOW_SECONDS);
});

test("a figure has about three digits, as the language writes them", () => {
  const english = figureFormat("en");
  const written = [null, 0, 0.123, 9.876, 12.34, 123.4, 12_345.6].map(english);
  assert.deepEqual(written, ["–", "0", "0.12", "9.88", "12.3", "123", "12,346"]);
  assert.equal(figureFormat("de")(12.34), "12,3");
});
