import assert from "node:assert/strict";
import { test } from "node:test";
import { cap, fullJitter } from "../../static/echo/feed/backoff.js";

test("the longest wait doubles from half a second to twenty", () => {
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 6, 100].map(cap),
    [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000],
  );
});

test("a wait is anything from nothing to the longest", () => {
  assert.equal(
    fullJitter(3, () => 0),
    0,
  );
  assert.equal(
    fullJitter(3, () => 0.25),
    1000,
  );
});
