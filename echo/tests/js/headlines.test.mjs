import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  explainRequest,
  explainResponse,
} from "../../static/echo/lab/protocol/headlines.js";

const TEXTS = readFileSync(
  new URL("../../../templates/echo/protocol_handshake_texts.html", import.meta.url),
  "utf8",
);

test("a line is explained by its name, whatever its case, and by its place", () => {
  assert.equal(explainRequest("GET /echo HTTP/1.1", 0).key, "request_line");
  assert.deepEqual(explainRequest("HOST: example.com", 1), {
    key: "request_host",
    sections: ["9110 7.2"],
  });
  assert.equal(explainRequest("X-Other: 1", 2).key, "request_other");
  assert.equal(explainResponse("HTTP/1.1 426 Upgrade Required", 0).key, "status_426");
  assert.equal(explainResponse("HTTP/1.1 418 Teapot", 0).key, "status_other");
  assert.equal(explainResponse("date: today", 1).key, "response_date");
});

test("every explanation has its text on the page", () => {
  const names = readFileSync(
    new URL("../../static/echo/lab/protocol/headlines.js", import.meta.url),
    "utf8",
  ).match(/(?<=")(request|response|status)_\w+(?=")/g);
  for (const name of names) assert.ok(TEXTS.includes(`data-text="${name}"`), name);
});
