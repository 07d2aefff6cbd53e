import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  acceptSteps,
  GUID,
  keyProblem,
  randomKey,
} from "../../static/echo/lab/protocol/accept.js";
import { sha1 } from "../../static/echo/lab/protocol/sha1.js";

const SAMPLE = "dGhlIHNhbXBsZSBub25jZQ==";

test("the steps are those of RFC 6455 section 1.3", () => {
  assert.deepEqual(acceptSteps(SAMPLE), {
    key: "74 68 65 20 73 61 6d 70 6c 65 20 6e 6f 6e 63 65",
    joined: SAMPLE + GUID,
    hash: "b3 7a 4f 2c c0 62 4f 16 90 f6 46 06 cf 38 59 45 b2 be c4 ea",
    accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
  });
});

test("the hash is SHA-1 at every length around the ends of blocks", () => {
  for (let length = 0; length < 200; length++) {
    const data = Uint8Array.from({ length }, (_, at) => (at * 31) % 256);
    const expected = createHash("sha1").update(data).digest("hex");
    assert.equal(Buffer.from(sha1(data)).toString("hex"), expected, `${length} bytes`);
  }
});

test("a key that is not 16 bytes in Base64 has a problem, and says which", () => {
  const problems = {
    "": "key_empty",
    "not a key": "key_character",
    "=AAA": "key_character",
    AAAAA: "key_padding",
    "c2hvcnQ=": "key_length",
    [`${SAMPLE.slice(0, -2)}AA`]: "key_length",
  };
  for (const [key, problem] of Object.entries(problems)) {
    assert.equal(keyProblem(key)?.[0], problem, key);
  }
  assert.equal(keyProblem("c2hvcnQ=")[1].length, 5);
});

test("a random key has no problem", () => {
  assert.equal(keyProblem(SAMPLE), null);
  assert.equal(keyProblem(randomKey()), null);
  assert.notEqual(randomKey(), randomKey());
});
