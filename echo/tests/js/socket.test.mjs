import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { EchoSocket, MAX_BUFFERED_BYTES } from "../../static/echo/console/socket.js";

const STABLE_MS = 5000;
let now;
let opened;
let happened;
let socket;

class FakeWebSocket {
  bufferedAmount = 0;
  protocol = "";

  constructor(address) {
    this.address = address;
    this.sent = [];
    opened.push(this);
  }

  send(message) {
    this.sent.push(message);
  }

  close(code, reason) {
    this.closed = { code, reason };
  }

  end(code, reason = "") {
    this.onclose({ code, reason, wasClean: code !== 1006 });
  }
}

beforeEach(() => {
  now = 0;
  opened = [];
  happened = [];
  globalThis.WebSocket = FakeWebSocket;
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(performance, "now", () => now);
  mock.method(Math, "random", () => 0.5);
  socket = new EchoSocket({
    state: (state) => happened.push(state),
    opened: () => happened.push("opened"),
    received: (message) => happened.push(message),
    failed: () => happened.push("failed"),
    closed: ({ code, clean, refused }) => happened.push([code, clean, refused]),
  });
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

function open() {
  socket.open("ws://here/echo", []);
  const latest = opened.at(-1);
  latest.onopen();
  return latest;
}

test("a connection opens once, echoes, and closes with the chosen code", () => {
  const line = open();
  socket.open("ws://here/echo", []);
  assert.equal(opened.length, 1);
  assert.ok(socket.send("a"));
  line.onmessage({ data: "a" });
  line.onmessage({ data: Uint8Array.of(1).buffer });
  socket.close(4321, "done");
  assert.deepEqual(line.closed, { code: 4321, reason: "done" });
  line.end(4321);
  assert.deepEqual(happened, [
    "connecting",
    "open",
    "opened",
    "a",
    Uint8Array.of(1),
    "closing",
    "closed",
    [4321, true, false],
  ]);
});

test("nothing is sent while closed, or while too much is buffered", () => {
  assert.equal(socket.send("a"), false);
  const line = open();
  line.bufferedAmount = MAX_BUFFERED_BYTES + 1;
  assert.equal(socket.send("a"), false);
  assert.deepEqual(line.sent, []);
});

test("a handshake that fails is refused; one that was closed here is not", () => {
  socket.open("ws://here/echo", []);
  opened[0].onerror();
  opened[0].end(1006);
  assert.deepEqual(happened, ["connecting", "refused", [1006, false, true]]);
  socket.open("ws://here/echo", []);
  socket.close(1000, "");
  opened[1].end(1006);
  assert.deepEqual(happened.at(-1), [1006, false, false]);
});

test("a lost connection is opened again, ever later until one is stable", () => {
  socket.reconnects = true;
  const waits = [];
  socket.on.state = (state, { milliseconds }) =>
    state === "waiting" && waits.push(milliseconds);
  for (const lasted of [0, 0, STABLE_MS, 0]) {
    const line = open();
    now += lasted;
    line.end(1006);
  }
  assert.deepEqual(waits, [250, 500, 250, 500]);
  mock.timers.tick(500);
  assert.equal(socket.state, "connecting");
  assert.equal(opened.length, 5);
});

test("a connection that was closed here is not opened again", () => {
  socket.reconnects = true;
  const line = open();
  socket.close(1000, "");
  line.end(1000);
  assert.equal(socket.state, "closed");
});

test("a wait for the next attempt is cancelled", () => {
  socket.reconnects = true;
  open().end(1006);
  assert.equal(socket.state, "waiting");
  socket.cancel();
  mock.timers.tick(60_000);
  assert.deepEqual([socket.state, opened.length], ["closed", 1]);
});
