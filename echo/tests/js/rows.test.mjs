import assert from "node:assert/strict";
import { test } from "node:test";
import {
  asNdjson,
  asText,
  CUT_CHARACTERS,
  cut,
  label,
  matches,
  RowStore,
} from "../../static/echo/console/rows.js";

const TIME = Date.UTC(2026, 10, 20, 11, 3, 32, 345);
const sent = (message) => ({
  direction: "sent",
  kind: typeof message === "string" ? "text" : "binary",
  time: TIME,
  message,
  length: message.length,
  roundTrip: null,
});
const received = (message, roundTrip = null) => ({
  ...sent(message),
  direction: "received",
  roundTrip,
});
const event = (kind, details) => ({
  direction: "event",
  kind,
  time: TIME,
  message: "",
  length: 0,
  ...details,
});
const closed = event("close", { code: 4321, reason: "bye", clean: true });

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
  const long = "x".repeat(CUT_CHARACTERS + 1);
  assert.equal(cut(sent(long)), `${"x".repeat(CUT_CHARACTERS)}…`);
  assert.equal(cut(sent("x".repeat(CUT_CHARACTERS))), "x".repeat(CUT_CHARACTERS));
  assert.equal(cut(sent("1\n2\n3\n4\n5\n6\n7")), "1\n2\n3\n4\n5\n6…");
});

test("binary messages are shown as a dump, cut after four lines", () => {
  assert.match(cut(sent(Uint8Array.of(72, 105))), /^00000000 {2}48 69 .*\|Hi\|$/);
  const lines = cut(sent(new Uint8Array(65))).split("\n");
  assert.equal(lines.length, 5);
  assert.equal(lines.at(-1), "…");
});

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

test("a copied log has the times, gorilla's lines, and messages in full", () => {
  const long = "x".repeat(CUT_CHARACTERS * 2);
  assert.equal(
    asText([event("open"), sent(long), closed]),
    "2026-11-20T11:03:32.345Z  OPEN\n" +
      `2026-11-20T11:03:32.345Z  SEND: ${long}\n` +
      "2026-11-20T11:03:32.345Z  CLOSE 4321 clean bye\n",
  );
});

test("an export is one JSON object a line, with messages in full", () => {
  const rows = [
    event("open", { subprotocol: "chat" }),
    sent("a\nb"),
    received(Uint8Array.of(0, 255), 1.5),
    event("error", { message: "400" }),
    closed,
  ];
  const time = "2026-11-20T11:03:32.345Z";
  const direction = "event";
  const lines = asNdjson(rows).split("\n");
  assert.equal(lines.pop(), "");
  assert.deepEqual(lines.map(JSON.parse), [
    { time, direction, type: "open", subprotocol: "chat" },
    {
      time,
      direction: "sent",
      type: "text",
      bytes: 3,
      round_trip_ms: null,
      text: "a\nb",
    },
    {
      time,
      direction: "received",
      type: "binary",
      bytes: 2,
      round_trip_ms: 1.5,
      base64: "AP8=",
    },
    { time, direction, type: "error", detail: "400" },
    { time, direction, type: "close", code: 4321, reason: "bye", clean: true },
  ]);
});
