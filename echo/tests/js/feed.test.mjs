import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { advance, attempts, install, page, polls } from "./fakebrowser.mjs";

install();
const { UPGRADE_MS, Feed } = await import("../../static/echo/feed/feed.js");

const HOUR = 3_600_000;
const id = (number) => `k3Zp9w1q-${number}`;
const event = (number, previous = number - 1) => ({
  type: "event",
  id: id(number),
  previous: id(previous),
  topic: "news",
  data: number,
});
const bye = (code, retry_ms) => ({ type: "bye", code, reason: "because", retry_ms });
let feed;
let received;

beforeEach(() => {
  attempts();
  received = [];
});

afterEach(() => feed.close());

function open(options = {}) {
  feed = new Feed({ since: id(1), shared: false, ...options });
  feed.addEventListener("event", ({ detail }) => received.push(detail.data));
  feed.open();
  const [line] = attempts();
  return line;
}

/** Open a feed whose WebSocket fails, so that it falls back to an event stream. */
function fallBack() {
  open().end();
  const [source] = attempts();
  source.hello(id(1));
  assert.deepEqual([feed.transport, feed.state], ["sse", "open"]);
  return source;
}

/** Advance the clock on a connection with a heartbeat every second. */
function live(line, milliseconds) {
  for (let passed = 0; passed < milliseconds; passed += 1000) {
    line.receive({ type: "heartbeat", last_event_id: feed.cursor });
    advance(1000);
  }
}

for (const transport of ["websocket", "sse"]) {
  test(`a ${transport} that is ended with 4503 does not reconnect, whatever the page does`, () => {
    const line = open({ transport });
    line.hello(id(1));
    line.receive(bye(4503, 86_400_000));
    line.end(4503);
    advance(HOUR);
    dispatchEvent(new Event("online"));
    dispatchEvent(new Event("pageshow"));
    page.dispatchEvent(new Event("visibilitychange"));
    assert.deepEqual(attempts(), []);
    const { state, code, reason } = feed.detail;
    assert.deepEqual([state, code, reason], ["closed", 4503, "because"]);
  });

  test(`a ${transport} that is asked to reconnect reconnects when it was told to`, () => {
    const line = open({ transport });
    line.hello(id(1));
    line.receive(event(2));
    line.receive(bye(4011, 12_345));
    line.end(4011);
    const { state, milliseconds, code, reason } = feed.detail;
    assert.deepEqual([state, milliseconds], ["waiting", 12_345]);
    assert.deepEqual([code, reason], [4011, "because"]);
    advance(12_344);
    assert.deepEqual(attempts(), []);
    advance(1);
    const [again] = attempts();
    assert.equal(again.since, id(2));
  });
}

test("a long poll that is ended with 4503 is not polled again", async () => {
  open({ transport: "longpoll" });
  const batch = { events: [event(2)], last_event_id: id(2), reset: null, more: true };
  polls.pop().respond({ ...batch, bye: bye(4503, 86_400_000) });
  await new Promise(setImmediate);
  advance(HOUR);
  await new Promise(setImmediate);
  assert.deepEqual(polls, []);
  assert.deepEqual(received, [2]);
  assert.deepEqual([feed.state, feed.detail.code], ["closed", 4503]);
});

test("a long poll that is asked to reconnect is polled again then, from its cursor", async () => {
  open({ transport: "longpoll" });
  const batch = { events: [event(2)], last_event_id: id(2), reset: null, more: false };
  polls.pop().respond({ ...batch, bye: bye(4011, 2000) });
  await new Promise(setImmediate);
  advance(1999);
  assert.deepEqual(polls, []);
  advance(1);
  assert.equal(polls.pop().url.searchParams.get("since"), id(2));
});

test("a feed that the server has ended is opened again by open()", () => {
  const line = open();
  line.hello(id(1));
  line.end(4503, "because");
  assert.equal(feed.detail.reason, "because");
  feed.open();
  const [again] = attempts();
  again.hello(id(1));
  assert.equal(feed.state, "open");
  feed.open();
  assert.deepEqual(attempts(), []);
});

const WAKES = {
  online: () => dispatchEvent(new Event("online")),
  pageshow: () => dispatchEvent(new Event("pageshow")),
  visibilitychange: () => page.dispatchEvent(new Event("visibilitychange")),
};

for (const [name, wake] of Object.entries(WAKES)) {
  test(`${name} ends a wait at once, and once`, () => {
    const line = open({ transport: "websocket" });
    line.hello(id(1));
    line.end();
    assert.equal(feed.state, "waiting");
    wake();
    assert.equal(attempts().length, 1);
    wake();
    advance(400);
    assert.deepEqual(attempts(), []);
  });
}

test("hiding the page does not end a wait", () => {
  const line = open({ transport: "websocket" });
  line.hello(id(1));
  line.end();
  page.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  page.hidden = false;
  assert.deepEqual([feed.state, attempts()], ["waiting", []]);
});

test("a page that is left holds no connection, and goes on when it is shown again", () => {
  const line = open();
  line.hello(id(1));
  line.receive(event(2));
  dispatchEvent(new Event("pagehide"));
  assert.ok(line.isClosed);
  advance(HOUR);
  assert.deepEqual(attempts(), []);
  dispatchEvent(new Event("pageshow"));
  const [again] = attempts();
  assert.equal(again.since, id(2));
  again.hello(id(2));
  again.receive(event(2));
  again.receive(event(3));
  assert.deepEqual(received, [2, 3]);
  assert.equal(feed.lost, 0);
});

test("a feed that fell back tries the first transport beside the one that works", () => {
  const source = fallBack();
  live(source, UPGRADE_MS - 1000);
  assert.deepEqual(attempts(), []);
  source.receive(event(2));
  advance(1000);
  const [socket] = attempts();
  assert.deepEqual([socket.kind, socket.since], ["websocket", id(2)]);
  source.receive(event(3));
  assert.ok(!source.isClosed);
  socket.hello(id(2));
  assert.ok(source.isClosed);
  for (const number of [3, 4]) socket.receive(event(number));
  assert.deepEqual(received, [2, 3, 4]);
  assert.deepEqual([feed.transport, feed.state, feed.lost], ["websocket", "open", 0]);
  live(socket, 2 * UPGRADE_MS);
  assert.deepEqual(attempts(), []);
});

const FAILURES = {
  "is refused": (socket) => socket.end(),
  "does not answer": () => {},
};

for (const [what, fail] of Object.entries(FAILURES)) {
  test(`while the first transport ${what} it is tried once in five minutes`, () => {
    const source = fallBack();
    const states = [];
    feed.addEventListener("state", ({ detail }) => states.push(detail.state));
    for (let round = 0; round < 3; round += 1) {
      live(source, UPGRADE_MS - 1000);
      assert.deepEqual(attempts(), []);
      live(source, 1000);
      const [socket, ...more] = attempts();
      assert.deepEqual([socket.kind, more], ["websocket", []]);
      fail(socket);
    }
    source.receive(event(2));
    assert.deepEqual(received, [2]);
    assert.deepEqual([feed.transport, states], ["sse", []]);
  });
}

test("an attempt that does not answer is given up", () => {
  const source = fallBack();
  live(source, UPGRADE_MS);
  const [socket] = attempts();
  live(source, 10_000);
  assert.ok(socket.isClosed);
});

test("a feed that ends while it tries the first transport leaves nothing open", () => {
  const source = fallBack();
  live(source, UPGRADE_MS);
  const [socket] = attempts();
  feed.close();
  assert.ok(source.isClosed);
  assert.ok(socket.isClosed);
});

test("a feed that fell back tries the first transport when it comes back late", () => {
  const source = fallBack();
  source.receive(bye(4011, UPGRADE_MS));
  source.end();
  advance(UPGRADE_MS);
  const [again] = attempts();
  assert.equal(again.kind, "sse");
  again.hello(id(1));
  advance(1);
  const [socket] = attempts();
  assert.equal(socket.kind, "websocket");
});

test("a transport that was named is not left for another", () => {
  const source = open({ transport: "sse" });
  source.hello(id(1));
  live(source, 3 * UPGRADE_MS);
  assert.deepEqual(attempts(), []);
});
