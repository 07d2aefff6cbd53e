import assert from "node:assert/strict";
import { test } from "node:test";
import {
  countReads,
  frameSize,
  partsOfReads,
} from "../../static/echo/lab/protocol/reads.js";

test("a read has the parts of the messages that it covers", () => {
  assert.deepEqual(partsOfReads([50, 30], [40, 40]), [
    [
      { message: 1, bytes: 40, isWhole: true },
      { message: 2, bytes: 10, isWhole: false },
    ],
    [{ message: 2, bytes: 30, isWhole: false }],
  ]);
});

test("reads that match messages are neither joined nor cut", () => {
  const counts = countReads(partsOfReads([5, 6], [5, 6]));
  assert.deepEqual(counts, { reads: 2, joined: 0, cut: 0, exact: 2 });
});

test("a read may join messages, cut one, or both", () => {
  assert.deepEqual(countReads(partsOfReads([10], [5, 5])), {
    reads: 1,
    joined: 1,
    cut: 0,
    exact: 0,
  });
  assert.deepEqual(countReads(partsOfReads([50, 30], [40, 40])), {
    reads: 2,
    joined: 1,
    cut: 2,
    exact: 0,
  });
});

test("a server's frame has two bytes of head, and four from 126 bytes on", () => {
  assert.deepEqual([0, 125, 126, 2048].map(frameSize), [2, 127, 130, 2052]);
});
