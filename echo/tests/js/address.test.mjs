import assert from "node:assert/strict";
import { test } from "node:test";
import {
  invalidKnob,
  knobQuery,
  pageQuery,
  parsePageQuery,
  parseProtocols,
  protocolsProblem,
  socketAddress,
} from "../../static/echo/console/address.js";

const NAMES = ["delay", "jitter", "close_reason", "subprotocol", "handshake"];

test("the query has the knobs that are set, encoded, in the form's order", () => {
  const knobs = new Map([
    ["delay", "250ms"],
    ["jitter", ""],
    ["close_reason", "bye & 你好"],
  ]);
  assert.equal(knobQuery(knobs), "delay=250ms&close_reason=bye+%26+%E4%BD%A0%E5%A5%BD");
});

test("a page's address gives back the form that made it", () => {
  const knobs = new Map([
    ["close_reason", "a=b&c +%"],
    ["subprotocol", "*"],
  ]);
  const query = `?${pageQuery(knobs, "chat, v2")}`;
  assert.deepEqual(parsePageQuery(query, NAMES), {
    knobs,
    protocols: "chat, v2",
    ignored: [],
  });
});

test("unknown and repeated names are returned as ignored", () => {
  const read = parsePageQuery("?dealy=1&delay=1s&delay=2s", NAMES);
  assert.deepEqual(read.ignored, ["dealy", "delay"]);
  assert.equal(read.knobs.get("delay"), "1s");
});

test("the socket is secure where the page is", () => {
  const host = "example.com:8443";
  assert.equal(
    socketAddress({ protocol: "https:", host }, "delay=1s"),
    "wss://example.com:8443/echo?delay=1s",
  );
  assert.equal(
    socketAddress({ protocol: "http:", host }, ""),
    "ws://example.com:8443/echo",
  );
});

test("subprotocols are typed with commas or spaces between", () => {
  assert.deepEqual(parseProtocols(" chat,v2.chat  x "), ["chat", "v2.chat", "x"]);
  assert.deepEqual(parseProtocols(" , "), []);
});

test("a subprotocol is a token, offered once", () => {
  assert.equal(protocolsProblem(["chat", "v2.chat"]), null);
  assert.deepEqual(protocolsProblem(["chat", "a/b"]), {
    key: "bad_protocol",
    values: { got: "a/b" },
  });
  assert.deepEqual(protocolsProblem(["chat", "v2", "chat"]), {
    key: "repeated_protocol",
    values: { got: "chat" },
  });
});

test("the server's reason names the knob at fault first", () => {
  assert.equal(invalidKnob("jitter: expected a number", NAMES), "jitter");
  assert.equal(invalidKnob("delay is given twice", NAMES), "delay");
  assert.equal(invalidKnob("expected percent-encoded UTF-8", NAMES), null);
  assert.equal(invalidKnob("", NAMES), null);
});
