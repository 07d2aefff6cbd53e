import assert from "node:assert/strict";
import { test } from "node:test";
import { matches } from "../../static/echo/log/search.js";
import { closed, received, sent } from "./rowfixtures.mjs";

test("rows are filtered by direction and by text, in any case of letters", () => {
  assert.ok(matches(sent("Hello"), "all", ""));
  assert.ok(matches(sent("Hello"), "sent", "hELL"));
  assert.ok(!matches(sent("Hello"), "received", ""));
  assert.ok(!matches(sent("Hello"), "all", "bye"));
  assert.ok(matches(closed, "event", "4321"));
  assert.ok(matches(received(Uint8Array.of(0xca, 0xfe)), "all", "ca fe"));
});

test("search finds what is beyond the cut", () => {
  assert.ok(matches(sent(`${"x".repeat(5000)}needle`), "all", "needle"));
});
