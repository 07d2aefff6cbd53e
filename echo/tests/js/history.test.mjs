import assert from "node:assert/strict";
import { test } from "node:test";
import {
  MAX_CHARACTERS,
  MAX_ENTRIES,
  MessageHistory,
} from "../../static/echo/console/history.js";

const entry = (text, format = "text") => ({ format, text });

function walked(...texts) {
  const history = new MessageHistory();
  for (const text of texts) history.push(entry(text));
  return history;
}

test("going back starts at the latest and stops at the oldest", () => {
  const history = walked("a", "b");
  assert.deepEqual(history.previous(entry("")), entry("b"));
  assert.deepEqual(history.previous(entry("b")), entry("a"));
  assert.equal(history.previous(entry("a")), null);
});

test("going forward ends at what was being typed", () => {
  const history = walked("a");
  history.previous(entry("{draft", "json"));
  assert.deepEqual(history.next(), entry("{draft", "json"));
  assert.equal(history.next(), null);
});

test("a repeat of the latest is kept once; another format is no repeat", () => {
  const history = walked("a", "a");
  history.push(entry("a", "hex"));
  assert.deepEqual(history.entries, [entry("a"), entry("a", "hex")]);
});

test("sending stands after the latest again", () => {
  const history = walked("a", "b");
  history.previous(entry(""));
  history.previous(entry(""));
  history.push(entry("c"));
  assert.deepEqual(history.previous(entry("")), entry("c"));
});

test("entries are bounded in number and length", () => {
  const history = new MessageHistory();
  for (let count = 0; count <= MAX_ENTRIES; count++) history.push(entry(`${count}`));
  assert.equal(history.entries.length, MAX_ENTRIES);
  assert.deepEqual(history.entries[0], entry("1"));
  history.push(entry("x".repeat(MAX_CHARACTERS + 1)));
  assert.deepEqual(history.entries.at(-1), entry(`${MAX_ENTRIES}`));
});
