import assert from "node:assert/strict";
import { test } from "node:test";
import {
  byteLength,
  eventRow,
  label,
  messageRow,
  RowStore,
  SHORT_CHARACTERS,
  shortText,
} from "../../static/echo/log/rows.js";
import { closed, event, received, sent } from "./rowfixtures.mjs";

test("lines begin as gorilla's do", () => {
  assert.equal(label(sent("x")), "SEND: ");
  assert.equal(label(received("x")), "RESPONSE: ");
  assert.equal(label(event("open")), "OPEN");
  assert.equal(label(closed), "CLOSE");
  assert.equal(label(event("error")), "ERROR: ");
  assert.throws(() => label({ direction: "up" }), TypeError);
});

test("the newest rows are kept, numbered without a gap", () => {
  const store = new RowStore(3);
  for (const word of ["a", "b", "c", "d", "e"]) store.add(sent(word));
  assert.deepEqual(
    store.rows.map(({ number, message }) => [number, message]),
    [
      [2, "c"],
      [3, "d"],
      [4, "e"],
    ],
  );
  assert.equal(store.first, 2);
});

test("rows are asked for from a number on, dropped ones left out", () => {
  const store = new RowStore(3);
  for (const word of ["a", "b", "c", "d"]) store.add(sent(word));
  assert.deepEqual(
    store.from(0).map(({ message }) => message),
    ["b", "c", "d"],
  );
  assert.deepEqual(
    store.from(3).map(({ message }) => message),
    ["d"],
  );
  assert.deepEqual(store.from(4), []);
});

test("payloads are bounded in bytes, and the newest row always stays", () => {
  const store = new RowStore(100, 10);
  for (const word of ["1234", "1234", "1234"]) store.add(sent(word));
  assert.equal(store.rows.length, 2);
  store.add(sent("longer than all of it"));
  assert.deepEqual(
    store.rows.map(({ message }) => message),
    ["longer than all of it"],
  );
});

test("a cleared store goes on numbering", () => {
  const store = new RowStore();
  store.add(sent("a"));
  store.clear();
  assert.equal(store.rows.length, 0);
  assert.equal(store.add(sent("b")).number, 1);
});

test("long text is cut in view, by characters and by lines", () => {
  const long = "x".repeat(SHORT_CHARACTERS + 1);
  assert.equal(shortText(sent(long)), `${"x".repeat(SHORT_CHARACTERS)}…`);
  assert.equal(
    shortText(sent("x".repeat(SHORT_CHARACTERS))),
    "x".repeat(SHORT_CHARACTERS),
  );
  assert.equal(shortText(sent("1\n2\n3\n4\n5\n6\n7")), "1\n2\n3\n4\n5\n6…");
});

test("binary messages are shown as a dump, cut after four lines", () => {
  assert.match(shortText(sent(Uint8Array.of(72, 105))), /^00000000 {2}48 69 .*\|Hi\|$/);
  const lines = shortText(sent(new Uint8Array(65))).split("\n");
  assert.equal(lines.length, 5);
  assert.equal(lines.at(-1), "…");
});

test("a message's row has its type and its length in bytes of UTF-8", () => {
  const text = messageRow("sent", "小王子", { roundTrip: null });
  assert.deepEqual([text.kind, text.length, text.roundTrip], ["text", 9, null]);
  const binary = messageRow("received", Uint8Array.of(1, 2), { roundTrip: 1 });
  assert.deepEqual([binary.kind, binary.length], ["binary", 2]);
  assert.equal(byteLength("小王子"), 9);
});

test("an event's row has the time of its details, or else now", () => {
  assert.equal(eventRow("close", { time: 5 }).time, 5);
  assert.ok(Math.abs(eventRow("open", {}).time - Date.now()) < 1000);
});
