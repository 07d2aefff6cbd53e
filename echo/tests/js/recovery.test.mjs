import assert from "node:assert/strict";
import { test } from "node:test";
import { Recovery } from "../../static/echo/feed/recovery.js";

test("a recovery is reported once all that was missed has come", () => {
  const recovery = new Recovery();
  recovery.begin(1000, "k3Zp9w1q-1", 2);
  recovery.receive("k3Zp9w1q-2");
  recovery.end(3100);
  assert.equal(recovery.report(2), null);
  recovery.expect(["k3Zp9w1q-2", "k3Zp9w1q-3"]);
  assert.equal(recovery.report(2), null);
  recovery.receive("k3Zp9w1q-3");
  assert.deepEqual(recovery.report(2), { seconds: 2.1, recovered: 2, lost: 0 });
  assert.equal(recovery.report(2), null);
});

test("a break in the chain is a loss of this recovery only", () => {
  const recovery = new Recovery();
  recovery.begin(0, "k3Zp9w1q-1", 2);
  recovery.end(1);
  recovery.expect([]);
  assert.equal(recovery.report(3).lost, 1);
});
