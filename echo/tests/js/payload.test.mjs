import assert from "node:assert/strict";
import { test } from "node:test";
import { encode, PayloadError } from "../../static/echo/console/payload.js";

const bytes = (...values) => Uint8Array.from(values);
const refuses = (format, text, key, values) =>
  assert.throws(
    () => encode(format, text),
    (error) => {
      assert.ok(error instanceof PayloadError);
      assert.equal(error.key, key);
      assert.deepEqual(error.values, values);
      return true;
    },
  );

test("text is sent as it was typed", () => {
  assert.equal(encode("text", " 你好\n"), " 你好\n");
});

test("JSON is checked and sent as it was typed", () => {
  assert.equal(encode("json", '{ "a": 1.0 }'), '{ "a": 1.0 }');
  assert.throws(() => encode("json", "{a: 1}"), { key: "bad_json" });
});

test("hex digits become bytes, whatever stands between them", () => {
  assert.deepEqual(encode("hex", "48 65:6C,0x6c\n6f"), bytes(72, 101, 108, 108, 111));
  assert.deepEqual(encode("hex", ""), bytes());
});

test("a character that is no hex digit is named with its position", () => {
  refuses("hex", "48 6g", "bad_hex", { got: "g", position: 5 });
  refuses("hex", "0x48 x", "bad_hex", { got: "x", position: 6 });
});

test("an odd number of hex digits is refused", () => {
  refuses("hex", "48 6", "odd_hex", { count: 3 });
});

test("base64 is read in both alphabets, padded or not", () => {
  assert.deepEqual(encode("base64", "+/8="), bytes(251, 255));
  assert.deepEqual(encode("base64", "-_8"), bytes(251, 255));
  assert.deepEqual(encode("base64", " SGk \n="), bytes(72, 105));
});

test("a character that is not base64 is named with its position", () => {
  refuses("base64", "SG!k", "bad_base64", { got: "!", position: 3 });
  refuses("base64", "SG=k", "bad_base64", { got: "=", position: 3 });
});

test("base64 whose end is missing is refused", () => {
  refuses("base64", "SGkhI", "short_base64", { count: 5 });
});

test("an unknown format is a mistake of the program", () => {
  assert.throws(() => encode("morse", "."), TypeError);
});

test("every byte survives hex and base64", () => {
  const all = Uint8Array.from({ length: 100_000 }, (_, at) => at % 256);
  const typed = Buffer.from(all);
  assert.deepEqual(encode("hex", typed.toString("hex")), all);
  assert.deepEqual(encode("base64", typed.toString("base64")), all);
});
