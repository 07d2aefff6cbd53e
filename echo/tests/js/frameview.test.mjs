/** What a row says of a frame before it is opened. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  fieldOf,
  kindOf,
  pairs,
  previewOf,
} from "../../static/echo/lab/protocol/frameview.js";

const text = (key) => key;
const payload = (value, more = {}) => ({
  fields: [{ field: "payload", value, text: null, hidden: 0, ...more }],
});

test("a frame that others follow is marked", () => {
  assert.equal(kindOf({ opcode: 1, fin: true }, text), "opcode_1");
  assert.equal(kindOf({ opcode: 0, fin: false }, text), "opcode_0 …");
});

test("the preview of a text is the text, cut between characters", () => {
  assert.equal(previewOf(payload("00", { text: "小王子" })), "小王子");
  assert.equal(
    previewOf(payload("00", { text: "🎉".repeat(61) })),
    `${"🎉".repeat(60)}…`,
  );
  assert.equal(previewOf(payload("00", { text: "a", hidden: 1 })), "a…");
});

test("the preview of bytes has a dot for each that cannot be printed", () => {
  assert.equal(previewOf(payload("48690a")), "Hi.");
  assert.equal(previewOf({ fields: [] }), "");
});

test("the preview of a close is its code and its reason", () => {
  const frame = payload("03e8627965");
  frame.fields.push({ field: "close_code", value: 1000 });
  assert.equal(previewOf(frame), "1000");
  frame.fields.push({ field: "close_reason", value: "bye" });
  assert.equal(previewOf(frame), "1000 bye");
  assert.equal(fieldOf(frame, "close_reason").value, "bye");
});

test("bytes are pairs of digits", () => {
  assert.deepEqual(pairs("81056a"), ["81", "05", "6a"]);
  assert.deepEqual(pairs(""), []);
});
