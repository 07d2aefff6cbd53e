import assert from "node:assert/strict";
import { test } from "node:test";
import { Selection } from "../../static/echo/admin/selection.js";

function listing(...ids) {
  const selection = new Selection();
  selection.list(ids);
  return selection;
}

test("selected rows stay selected while others come and go", () => {
  const selection = listing("a", "b", "c");
  selection.choose("b", true);
  selection.list(["b", "c", "d"]);
  assert.ok(selection.has("b"));
  assert.ok(!selection.has("d"));
  assert.deepEqual([selection.count, selection.gone], [1, 0]);
});

test("selected rows that left the list are counted apart", () => {
  const selection = listing("a", "b");
  selection.chooseListed(true);
  selection.list(["b"]);
  assert.deepEqual([selection.count, selection.gone], [1, 1]);
});

test("a row that comes back to the list is still selected", () => {
  const selection = listing("a", "b");
  selection.choose("a", true);
  selection.list(["b"]);
  assert.equal(selection.isHeld, false);
  selection.list(["a", "b"]);
  assert.deepEqual([selection.count, selection.gone], [1, 0]);
});

test("the next choice drops the rows that left", () => {
  const selection = listing("a", "b");
  selection.choose("a", true);
  selection.list(["b"]);
  selection.choose("b", true);
  assert.equal(selection.gone, 0);
  selection.list(["a", "b"]);
  assert.ok(!selection.has("a"));
});

test("a new row makes a fully selected page a partial one", () => {
  const selection = listing("a");
  selection.chooseListed(true);
  assert.ok(selection.isEveryListed);
  selection.list(["a", "b"]);
  assert.ok(!selection.isEveryListed);
});

test("an empty page is not fully selected", () => {
  assert.ok(!listing().isEveryListed);
});

test("all that match includes new rows and counts none as gone", () => {
  const selection = listing("a");
  selection.chooseListed(true);
  selection.chooseAll();
  selection.list(["b"]);
  assert.ok(selection.has("b"));
  assert.deepEqual([selection.count, selection.gone], [1, 0]);
});

test("deselecting a row of all that match keeps the page's others", () => {
  const selection = listing("a", "b");
  selection.chooseAll();
  selection.choose("a", false);
  assert.ok(!selection.isAll);
  assert.deepEqual([selection.has("a"), selection.has("b")], [false, true]);
});

test("rows are held only while some of them are selected", () => {
  const selection = listing("a", "b");
  assert.ok(!selection.isHeld);
  selection.choose("a", true);
  assert.ok(selection.isHeld);
  selection.clear();
  assert.ok(!selection.isHeld);
});
