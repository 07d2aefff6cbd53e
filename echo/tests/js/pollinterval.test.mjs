import assert from "node:assert/strict";
import { test } from "node:test";
import { pollInterval, WATCH_MS } from "../../static/echo/admin/pollinterval.js";

test("a receipt is polled at growing intervals", () => {
  const intervals = [0, 2_999, 3_000, 14_999, 15_000, WATCH_MS].map(pollInterval);
  assert.deepEqual(intervals, [250, 250, 1_000, 1_000, 5_000, 5_000]);
});
