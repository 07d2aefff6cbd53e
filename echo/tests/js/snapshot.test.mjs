import assert from "node:assert/strict";
import { test } from "node:test";
import {
  loadSnapshot,
  rowsToKeep,
  saveSnapshot,
} from "../../static/echo/live/snapshot.js";

const row = (number, length = 10) => ({ number, message: "x".repeat(length) });

/** A sessionStorage that holds at most so many characters. */
function storage(capacity = Number.POSITIVE_INFINITY) {
  const items = new Map();
  globalThis.sessionStorage = {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => {
      if (value.length > capacity) throw new Error("QuotaExceededError");
      items.set(key, value);
    },
  };
}

test("a snapshot is for a page with the same query string", () => {
  storage();
  const snapshot = {
    query: "?topic=a",
    cursor: "k3Zp9w1q-1",
    received: 1,
    rows: [row(0)],
  };
  saveSnapshot(snapshot);
  assert.deepEqual(loadSnapshot("?topic=a"), snapshot);
  assert.equal(loadSnapshot("?topic=b"), null);
});

test("without a cursor there is nothing to go on from", () => {
  storage();
  assert.equal(loadSnapshot(""), null);
  saveSnapshot({ query: "", cursor: null, received: 0, rows: [] });
  assert.equal(loadSnapshot(""), null);
});

test("a storage that is full changes nothing", () => {
  storage(10);
  saveSnapshot({ query: "", cursor: "k3Zp9w1q-1", received: 0, rows: [row(0, 100)] });
  assert.equal(loadSnapshot(""), null);
});

test("the newest rows are kept, in order, within bounds", () => {
  const many = rowsToKeep(Array.from({ length: 600 }, (_, number) => row(number)));
  assert.deepEqual([many.length, many[0].number, many.at(-1).number], [500, 100, 599]);
  const long = rowsToKeep([row(0, 600_000), row(1, 600_000), row(2)]);
  assert.deepEqual(
    long.map(({ number }) => number),
    [1, 2],
  );
});
