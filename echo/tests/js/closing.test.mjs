import assert from "node:assert/strict";
import { test } from "node:test";
import {
  closeProblem,
  explanationKey,
  isBrowserCloseCode,
} from "../../static/echo/console/closing.js";

test("each code of the protocol has words of its own", () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 1015]) {
    assert.equal(explanationKey(code), `close_${code}`);
  }
});

test("the other codes are explained by their range", () => {
  assert.equal(explanationKey(1004), "close_reserved");
  assert.equal(explanationKey(1016), "close_reserved");
  assert.equal(explanationKey(2999), "close_reserved");
  assert.equal(explanationKey(3000), "close_registered");
  assert.equal(explanationKey(3999), "close_registered");
  assert.equal(explanationKey(4000), "close_private");
  assert.equal(explanationKey(4999), "close_private");
});

test("a browser closes with 1000 and 3000-4999 only", () => {
  const refused = [999, 1001, 1006, 1011, 2999, 5000];
  assert.ok([1000, 3000, 4999].every(isBrowserCloseCode));
  assert.ok(!refused.some(isBrowserCloseCode));
});

test("a code that is no number of four digits is a problem", () => {
  for (const code of ["", "abc", "1e3", " 1000", "01000", "1001"]) {
    assert.deepEqual(closeProblem(code, "", 123), {
      key: "bad_close_code",
      values: { got: code },
    });
  }
  assert.equal(closeProblem("1000", "", 123), null);
});

test("a reason is limited in bytes, not in characters", () => {
  assert.equal(closeProblem("1000", "王".repeat(41), 123), null);
  assert.deepEqual(closeProblem("1000", "王".repeat(42), 123), {
    key: "long_close_reason",
    values: { limit: 123, size: 126 },
  });
});
