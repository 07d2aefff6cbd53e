// Every regular expression of the pages takes time linear in the text: what a server or a
// reader's own file holds must not freeze a page.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";

const FOLDER = fileURLToPath(new URL("../../static/echo", import.meta.url));
// One that begins with [ ( , = : ? or a space, and holds classes and escapes.
const LITERAL =
  /(?<=[[(,=:?!\s])\/(?![/*])((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+)\/([gimsuy]*)(?=[.,;)\s])/g;
const LENGTH = 64 * 1024;
const DEADLINE_MILLISECONDS = 5000;
const UNITS = [
  "1",
  "a",
  "A",
  ".",
  "-",
  " ",
  "\n",
  "=",
  ",",
  "{",
  "*",
  "[",
  "0x",
  "a.",
  "= ",
  "{a",
];

function* literals() {
  for (const name of readdirSync(FOLDER, { recursive: true })) {
    if (!name.endsWith(".js") || name.includes("vendor")) continue;
    const source = readFileSync(join(FOLDER, name), "utf8");
    for (const [, pattern, flags] of source.matchAll(LITERAL))
      yield { name, pattern, flags };
  }
}

test("no text takes a pattern of the pages long", () => {
  const found = [...literals()];
  assert.ok(found.length >= 15, `only ${found.length} patterns were found`);
  for (const { name, pattern, flags } of found) {
    const again = flags.includes("g") ? flags : `${flags}g`;
    const expression = new RegExp(pattern, again);
    for (const unit of UNITS) {
      for (const end of ["", "!", "x", "\0"]) {
        const text = unit.repeat(LENGTH / unit.length) + end;
        const context = { expression, text };
        const options = { timeout: DEADLINE_MILLISECONDS };
        assert.doesNotThrow(
          () => runInNewContext('text.replace(expression, "")', context, options),
          `${name}: /${pattern}/ on ${JSON.stringify(unit)}`,
        );
      }
    }
  }
});
