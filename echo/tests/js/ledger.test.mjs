import assert from "node:assert/strict";
import { test } from "node:test";
import { isCovered, Ledger } from "../../static/echo/feed/ledger.js";

const id = (number) => `k3Zp9w1q-${number}`;
const event = (number, previous, topic = "news") => ({
  type: "event",
  id: id(number),
  previous: previous === null ? null : id(previous),
  topic,
});

test("ids are compared by number, within one epoch", () => {
  assert.ok(isCovered(id(9), id(10)));
  assert.ok(isCovered(id(10), id(10)));
  assert.ok(!isCovered(id(11), id(10)));
  assert.ok(!isCovered("other000-1", id(10)));
  assert.ok(!isCovered(id(1), null));
});

test("an event is taken once, and moves the cursor", () => {
  const ledger = new Ledger(id(4));
  assert.ok(ledger.take(event(5, 3)));
  assert.ok(!ledger.take(event(5, 3)));
  assert.ok(!ledger.take(event(4, 3)));
  assert.equal(ledger.cursor, id(5));
  assert.equal(ledger.lost, 0);
});

test("a broken chain is a loss", () => {
  const ledger = new Ledger(id(4));
  ledger.take(event(5, 4));
  ledger.take(event(8, 7));
  assert.equal(ledger.lost, 1);
});

test("the first event of a topic must follow what lies before the start", () => {
  const whole = new Ledger(id(4));
  whole.take(event(9, null, "a"));
  whole.take(event(10, 2, "b"));
  assert.equal(whole.lost, 0);
  const broken = new Ledger(id(4));
  broken.take(event(9, 6));
  assert.equal(broken.lost, 1);
});

test("a deleted topic begins again without a loss", () => {
  const ledger = new Ledger(id(4));
  ledger.take(event(5, 4));
  ledger.take(event(9, null));
  ledger.take(event(10, 9));
  assert.equal(ledger.lost, 0);
  ledger.take(event(12, 11));
  assert.equal(ledger.lost, 1);
});

test("a heartbeat moves the cursor and does not hide a loss", () => {
  const ledger = new Ledger(id(4));
  ledger.take({ type: "heartbeat", last_event_id: id(7) });
  assert.equal(ledger.cursor, id(7));
  ledger.take(event(9, 6));
  assert.equal(ledger.lost, 1);
});

test("after a reset the chain begins anew, in another epoch too", () => {
  const ledger = new Ledger(id(40));
  ledger.take({ type: "reset", last_event_id: "other000-3" });
  assert.ok(
    ledger.take({ type: "event", id: "other000-4", previous: id(40), topic: "news" }),
  );
  assert.equal(ledger.cursor, "other000-4");
});

test("without a cursor the server's hello is where it begins", () => {
  const ledger = new Ledger();
  ledger.take({ type: "hello", last_event_id: id(7) });
  assert.equal(ledger.cursor, id(7));
  ledger.take(event(8, 7));
  assert.equal(ledger.lost, 0);
});

test("from the earliest events on, each topic begins with its first", () => {
  const ledger = new Ledger();
  ledger.take(event(155, 120, "rare"));
  ledger.take(event(156, 150, "busy"));
  assert.equal(ledger.lost, 0);
  ledger.take({ type: "heartbeat", last_event_id: id(156) });
  ledger.take(event(160, 158, "other"));
  ledger.take(event(162, 159, "busy"));
  assert.equal(ledger.lost, 2);
});
