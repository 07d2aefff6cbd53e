import assert from "node:assert/strict";
import { test } from "node:test";
import { accountOf } from "../../static/echo/live/account.js";
import { Recovery } from "../../static/echo/live/recovery.js";
import {
  code,
  howToPublish,
  parseTopics,
} from "../../static/echo/live/subscription.js";

test("topics are separated by spaces or commas, and named once", () => {
  assert.deepEqual(parseTopics(" news, news.*  *,news"), ["news", "news.*", "*"]);
});

for (const typed of ["", "a b..c", "news*", "ü", "a".repeat(91)]) {
  test(`no topics: ${JSON.stringify(typed)}`, () => {
    assert.equal(parseTopics(typed), null);
  });
}

test("more topics than the server takes are refused", () => {
  const many = (count) => Array.from({ length: count }, (_, i) => `t${i}`).join(" ");
  assert.equal(parseTopics(many(32)).length, 32);
  assert.equal(parseTopics(many(33)), null);
});

test("each language names all topics", () => {
  for (const language of ["curl", "python", "javascript", "manage"]) {
    const lines = code(language, "http://here", ["news.eu", "news.us"], "");
    assert.match(lines, /news\.eu/);
    assert.match(lines, /news\.us/);
  }
});

test("a pattern is published to by a topic below it", () => {
  assert.match(howToPublish("http://here", "news.*"), /--topic news\.hello /);
});

test("a recovery is reported once all that was missed has come", () => {
  const recovery = new Recovery();
  recovery.begin(1000, "k3Zp9w1q-1", 2);
  recovery.saw("k3Zp9w1q-2");
  recovery.end(3100);
  assert.equal(recovery.report(2), null);
  recovery.expect(["k3Zp9w1q-2", "k3Zp9w1q-3"]);
  assert.equal(recovery.report(2), null);
  recovery.saw("k3Zp9w1q-3");
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

const ACCOUNTS = {
  live_open: { state: "open" },
  live_waiting: { state: "waiting" },
  live_closed: { state: "closed" },
  live_asked: { state: "waiting", code: 4011, reason: "asked to reconnect" },
  live_told: { state: "waiting", code: 4001, reason: "shutdown" },
  live_ended: { state: "closed", code: 4507, reason: "not allowed" },
  live_sent_away: {
    state: "closed",
    code: 4503,
    reason: "disconnected by an operator",
  },
  live_disconnected: { state: "closed", code: 4503, reason: "maintenance" },
};

for (const [key, told] of Object.entries(ACCOUNTS)) {
  test(`what the page says of ${JSON.stringify(told)}`, () => {
    assert.equal(accountOf(told), key);
  });
}
