import assert from "node:assert/strict";
import { test } from "node:test";
import { load, save } from "../../static/echo/console/storage.js";

test("a value comes back as it was saved", () => {
  const items = new Map();
  globalThis.localStorage = {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
  };
  save("key", [{ text: "你好" }]);
  assert.deepEqual(load("key", []), [{ text: "你好" }]);
  assert.equal(load("other", "fallback"), "fallback");
  items.set("key", "{");
  assert.equal(load("key", "fallback"), "fallback");
});

test("a browser that refuses storage loads the fallback and saves nothing", () => {
  const refuse = () => {
    throw new Error("SecurityError");
  };
  globalThis.localStorage = { getItem: refuse, setItem: refuse };
  save("key", 1);
  assert.equal(load("key", "fallback"), "fallback");
});
