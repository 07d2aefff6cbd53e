import assert from "node:assert/strict";
import { test } from "node:test";
import { hexdump } from "../../static/echo/log/hexdump.js";

const sample = Uint8Array.from({ length: 300 }, (_, at) => (at * 7) % 256);

test("a line has offset, sixteen bytes in two halves, and what is printable", () => {
  assert.equal(
    hexdump(new TextEncoder().encode("Hello, world! 你")),
    "00000000  48 65 6c 6c 6f 2c 20 77  6f 72 6c 64 21 20 e4 bd  |Hello, world! ..|\n" +
      "00000010  a0                                                |.|",
  );
});

test("no bytes are no lines", () => {
  assert.equal(hexdump(new Uint8Array()), "");
});

test("a dump is cut after the given number of lines", () => {
  assert.equal(hexdump(sample, 2), hexdump(sample).split("\n").slice(0, 2).join("\n"));
});

test("the dump holds every byte", () => {
  const digits = hexdump(sample)
    .split("\n")
    .map((line) => line.slice(10, 59))
    .join(" ");
  assert.deepEqual(
    digits
      .trim()
      .split(/\s+/)
      .map((pair) => Number.parseInt(pair, 16)),
    [...sample],
  );
});
