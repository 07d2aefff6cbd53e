import assert from "node:assert/strict";
import { test } from "node:test";
import { asNdjson, asText, toBase64 } from "../../static/echo/log/export.js";
import { SHORT_CHARACTERS } from "../../static/echo/log/rows.js";
import { closed, event, received, sent } from "./rowfixtures.mjs";

test("a copied log has the times, gorilla's lines, and messages in full", () => {
  const long = "x".repeat(SHORT_CHARACTERS * 2);
  assert.equal(
    asText([event("open"), sent(long), closed]),
    "2026-11-20T11:03:32.345Z  OPEN\n" +
      `2026-11-20T11:03:32.345Z  SEND: ${long}\n` +
      "2026-11-20T11:03:32.345Z  CLOSE 4321 clean bye\n",
  );
});

test("an export is one JSON object a line, with messages in full", () => {
  const rows = [
    event("open", { subprotocol: "chat" }),
    sent("a\nb"),
    received(Uint8Array.of(0, 255), 1.5),
    event("error", { message: "400" }),
    closed,
  ];
  const time = "2026-11-20T11:03:32.345Z";
  const direction = "event";
  const lines = asNdjson(rows).split("\n");
  assert.equal(lines.pop(), "");
  assert.deepEqual(lines.map(JSON.parse), [
    { time, direction, type: "open", subprotocol: "chat" },
    {
      time,
      direction: "sent",
      type: "text",
      bytes: 3,
      round_trip_ms: null,
      text: "a\nb",
    },
    {
      time,
      direction: "received",
      type: "binary",
      bytes: 2,
      round_trip_ms: 1.5,
      base64: "AP8=",
    },
    { time, direction, type: "error", detail: "400" },
    { time, direction, type: "close", code: 4321, reason: "bye", clean: true },
  ]);
});

test("an event of the feed is exported with its id, topic and delay", () => {
  const row = { ...received("1", 2.5), id: "k3Zp9w1q-5", topic: "news" };
  const exported = JSON.parse(asNdjson([row]));
  assert.deepEqual(
    [exported.id, exported.topic, exported.delay_ms, exported.round_trip_ms],
    ["k3Zp9w1q-5", "news", 2.5, undefined],
  );
});

test("every byte survives base64", () => {
  const all = Uint8Array.from({ length: 100_000 }, (_, at) => at % 256);
  assert.deepEqual(Uint8Array.from(Buffer.from(toBase64(all), "base64")), all);
});
