import assert from "node:assert/strict";
import { test } from "node:test";
import { pause, WATCH_MS, whenQuiet } from "../../static/echo/admin/pace.js";

test("what is typed is asked for once, when typing has paused", ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const ask = mock.fn();
  const typed = whenQuiet(ask, 250);
  typed();
  mock.timers.tick(249);
  typed();
  mock.timers.tick(249);
  assert.equal(ask.mock.callCount(), 0);
  mock.timers.tick(1);
  assert.equal(ask.mock.callCount(), 1);
});

test("an answer that would be out of date is aborted", ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const signals = [];
  const typed = whenQuiet((signal) => signals.push(signal), 250);
  typed();
  mock.timers.tick(250);
  assert.equal(signals[0].aborted, false);
  typed();
  assert.equal(signals[0].aborted, true);
  mock.timers.tick(250);
  assert.equal(signals[1].aborted, false);
});

test("a receipt is asked for ever more seldom", () => {
  const pauses = [0, 2_999, 3_000, 14_999, 15_000, WATCH_MS].map(pause);
  assert.deepEqual(pauses, [250, 250, 1_000, 1_000, 5_000, 5_000]);
});
