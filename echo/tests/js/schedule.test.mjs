import assert from "node:assert/strict";
import { test } from "node:test";
import { debounce, oncePerFrame } from "../../static/echo/site/schedule.js";

test("work is done once, when the calls have paused", ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const work = mock.fn();
  const call = debounce(work, 250);
  call();
  mock.timers.tick(249);
  call();
  mock.timers.tick(249);
  assert.equal(work.mock.callCount(), 0);
  mock.timers.tick(1);
  assert.equal(work.mock.callCount(), 1);
});

test("work that would be out of date is aborted", ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const signals = [];
  const call = debounce((signal) => signals.push(signal), 250);
  call();
  mock.timers.tick(250);
  assert.equal(signals[0].aborted, false);
  call();
  assert.equal(signals[0].aborted, true);
  mock.timers.tick(250);
  assert.equal(signals[1].aborted, false);
});

test("work is done once in a frame, however often it is asked for", () => {
  const frames = [];
  globalThis.requestAnimationFrame = (callback) => frames.push(callback);
  let done = 0;
  const schedule = oncePerFrame(() => {
    done += 1;
  });
  schedule();
  schedule();
  assert.equal(frames.length, 1);
  frames.pop()();
  assert.equal(done, 1);
  schedule();
  frames.pop()();
  assert.equal(done, 2);
});
