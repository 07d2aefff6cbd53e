import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isSame,
  MAX_OUTSTANDING,
  RoundTrips,
} from "../../static/echo/console/roundtrip.js";

test("an answer is measured from the oldest message still out", () => {
  const trips = new RoundTrips();
  trips.sent("a", 10);
  trips.sent("a", 20);
  assert.equal(trips.received("a", 25), 15);
  assert.equal(trips.received("a", 26), 6);
});

test("what was not sent has no round trip, and does not disturb the others", () => {
  const trips = new RoundTrips();
  trips.sent("a", 10);
  assert.equal(trips.received("handshake", 11), null);
  assert.equal(trips.received("a", 12), 2);
  assert.equal(trips.received("a", 13), null);
});

test("text and binary messages with the same content differ", () => {
  const trips = new RoundTrips();
  trips.sent(Uint8Array.of(97), 0);
  assert.equal(trips.received("a", 1), null);
  assert.equal(trips.received(Uint8Array.of(97), 1), 1);
});

test("a new connection answers nothing of the old one", () => {
  const trips = new RoundTrips();
  trips.sent("a", 0);
  trips.reset();
  assert.equal(trips.received("a", 1), null);
});

test("what waits for an answer is bounded: the oldest is given up", () => {
  const trips = new RoundTrips();
  for (let count = 0; count <= MAX_OUTSTANDING; count++) trips.sent(`${count}`, count);
  assert.equal(trips.received("0", 20_000), null);
  assert.equal(trips.received("1", 20_000), 19_999);
});

test("the median is of what was measured", () => {
  const trips = new RoundTrips();
  assert.equal(trips.median, null);
  for (const elapsed of [30, 1, 2]) {
    trips.sent("a", 0);
    trips.received("a", elapsed);
  }
  assert.equal(trips.median, 2);
});

test("messages are the same when type and content are", () => {
  const bytes = (...values) => Uint8Array.from(values);
  assert.ok(isSame("a", "a"));
  assert.ok(isSame(bytes(1, 2), bytes(1, 2)));
  assert.ok(!isSame(bytes(1, 2), bytes(1, 3)));
  assert.ok(!isSame(bytes(1), bytes(1, 1)));
  assert.ok(!isSame("", bytes()));
});
