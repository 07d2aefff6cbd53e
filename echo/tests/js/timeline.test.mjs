import assert from "node:assert/strict";
import { test } from "node:test";
import {
  FIGURES,
  figureFormat,
  GAP_SECONDS,
  Timeline,
  timeRange,
  WINDOW_SECONDS,
} from "../../static/echo/admin/timeline.js";

const FIRST = 1_800_000_000;

const report = (nodes, connections = 1, more = {}) => ({
  nodes,
  events_per_second: 10,
  deliveries_per_second: 100,
  connections,
  delay_p50_ms: 1,
  delay_p99_ms: 2,
  ...more,
});

/** Return a timeline with the same report at each of these seconds. */
function timelineOf(...seconds) {
  const timeline = new Timeline();
  for (const second of seconds) timeline.add(FIRST + second, report(["a"]));
  return timeline;
}

const current = (timeline) =>
  Object.fromEntries(FIGURES.map((name, i) => [name, timeline.latest.figures[i]]));

test("each second is one point, and each figure a column", () => {
  const [seconds, ...figures] = timelineOf(0, 1).columns();
  assert.deepEqual(seconds, [FIRST, FIRST + 1]);
  assert.deepEqual(figures, [
    [10, 10],
    [100, 100],
    [1, 1],
    [1, 1],
    [2, 2],
  ]);
});

test("reports of single nodes are merged", () => {
  const timeline = new Timeline();
  timeline.add(FIRST, report(["a"], 3, { delay_p99_ms: 7 }));
  timeline.add(FIRST, report(["b"], 4, { events_per_second: 11, delay_p99_ms: 5 }));
  assert.deepEqual(current(timeline), {
    events_per_second: 11, // both have seen the same events
    deliveries_per_second: 200,
    connections: 7,
    delay_p50_ms: 1,
    delay_p99_ms: 7,
  });
});

test("two reports of a node in a second count once", () => {
  const timeline = new Timeline();
  timeline.add(FIRST, report(["a", "b"], 7));
  timeline.add(FIRST, report(["b"], 4));
  assert.equal(current(timeline).connections, 4);
});

test("a late node's last report stands in for a second, then the node is gone", () => {
  const timeline = new Timeline();
  timeline.add(FIRST, report(["a"], 3));
  timeline.add(FIRST, report(["b"], 4));
  timeline.add(FIRST + 1, report(["a"], 5));
  assert.equal(current(timeline).connections, 9);
  timeline.add(FIRST + 2, report(["a"], 5));
  assert.equal(current(timeline).connections, 5);
});

test("a node's slow clock does not move the axis back", () => {
  const timeline = new Timeline();
  timeline.add(FIRST + 5, report(["a"], 3));
  timeline.add(FIRST, report(["b"], 4));
  assert.deepEqual(timeline.columns()[0], [FIRST + 5]);
  assert.equal(current(timeline).connections, 7);
});

test("a few missing seconds are late timers", () => {
  const [seconds] = timelineOf(0, GAP_SECONDS).columns();
  assert.deepEqual(seconds, [FIRST, FIRST + GAP_SECONDS]);
});

test("seconds without reports are a gap in every line", () => {
  const [seconds, ...figures] = timelineOf(0, GAP_SECONDS + 1).columns();
  assert.deepEqual(seconds, [FIRST, FIRST + 1, FIRST + GAP_SECONDS + 1]);
  for (const column of figures) assert.equal(column[1], null);
});

test("no more than the window is kept", () => {
  const timeline = timelineOf(...Array(3 * WINDOW_SECONDS).keys());
  assert.equal(timeline.points.length, WINDOW_SECONDS);
  assert.equal(timeline.points[0].second, FIRST + 2 * WINDOW_SECONDS);
  const reports = timeline.points.flatMap((point) => point.reports);
  assert.equal(reports.length, 1);
});

test("a long gap leaves only what is after it", () => {
  assert.deepEqual(timelineOf(0, 2 * WINDOW_SECONDS).columns()[0], [
    FIRST + 2 * WINDOW_SECONDS,
  ]);
});

test("a figure without values is null", () => {
  const timeline = new Timeline();
  timeline.add(FIRST, report(["a"], 1, { delay_p50_ms: null, delay_p99_ms: "fast" }));
  assert.equal(current(timeline).delay_p50_ms, null);
  assert.equal(current(timeline).delay_p99_ms, null);
});

test("events without figures are ignored", () => {
  const timeline = new Timeline();
  for (const data of [null, "x", 1, [], {}, { nodes: "a" }]) timeline.add(FIRST, data);
  timeline.add(Number.NaN, report(["a"]));
  assert.equal(timeline.latest, null);
  assert.deepEqual(timeline.columns(), [[], ...FIGURES.map(() => [])]);
});

test("the time axis slides, or moves in steps", () => {
  assert.deepEqual(timeRange(FIRST + 5, false), [
    FIRST + 5 - WINDOW_SECONDS,
    FIRST + 5,
  ]);
  const step = timeRange(FIRST + 5, true);
  assert.deepEqual(timeRange(FIRST + 50, true), step);
  assert.ok(step[1] >= FIRST + 50 && step[1] - step[0] === WINDOW_SECONDS);
});

test("a figure has about three digits in the language's format", () => {
  const english = figureFormat("en");
  const written = [null, 0, 0.123, 9.876, 12.34, 123.4, 12_345.6].map(english);
  assert.deepEqual(written, ["–", "0", "0.12", "9.88", "12.3", "123", "12,346"]);
  assert.equal(figureFormat("de")(12.34), "12,3");
});
