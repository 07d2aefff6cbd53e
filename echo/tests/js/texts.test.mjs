import assert from "node:assert/strict";
import { test } from "node:test";
import { fill } from "../../static/echo/site/texts.js";

test("values go where their names stand, as often as they stand there", () => {
  assert.equal(fill("{a} of {b}, {a}", { a: 1, b: "two" }), "1 of two, 1");
});

test("what a value holds is never a place for another", () => {
  assert.equal(fill("{a}{b}", { a: "{b}", b: "$&" }), "{b}$&");
});

test("a name without a value stays to be seen", () => {
  assert.equal(fill("{a}", {}), "{a}");
});
