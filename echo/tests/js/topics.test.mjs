import assert from "node:assert/strict";
import { test } from "node:test";
import {
  codeSample,
  parseTopics,
  publishCommands,
} from "../../static/echo/live/topics.js";

test("topics are separated by spaces or commas, and named once", () => {
  assert.deepEqual(parseTopics(" news, news.*  *,news"), ["news", "news.*", "*"]);
});

for (const field of ["", "a b..c", "news*", "ü", "a".repeat(91)]) {
  test(`no topics: ${JSON.stringify(field)}`, () => {
    assert.equal(parseTopics(field), null);
  });
}

test("more topics than the server takes are refused", () => {
  const many = (count) => Array.from({ length: count }, (_, i) => `t${i}`).join(" ");
  assert.equal(parseTopics(many(32)).length, 32);
  assert.equal(parseTopics(many(33)), null);
});

test("each language names all topics", () => {
  for (const language of ["curl", "python", "javascript", "manage"]) {
    const lines = codeSample(language, "http://here", ["news.eu", "news.us"], "");
    assert.match(lines, /news\.eu/);
    assert.match(lines, /news\.us/);
  }
});

test("a pattern is published to by a topic below it", () => {
  assert.match(publishCommands("http://here", "news.*"), /--topic news\.hello /);
});
