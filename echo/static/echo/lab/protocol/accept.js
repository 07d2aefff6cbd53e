/** Computes Sec-WebSocket-Accept, step by step (RFC 6455 section 4.2.2). */

import { sha1 } from "./sha1.js";

/** What every server adds to the key (RFC 6455 section 1.3). */
export const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const KEY_BYTES = 16;
const BASE64 = /^[A-Za-z0-9+/]*$/;

/** Return each step from a key to the server's answer. */
export function acceptSteps(key) {
  const joined = key + GUID;
  const hash = sha1(new TextEncoder().encode(joined));
  return {
    key: hex(bytesOf(atob(key))),
    joined,
    hash: hex(hash),
    accept: btoa(String.fromCharCode(...hash)),
  };
}

/**
 * Return what is wrong with a key as the name of a text and its values; null if it is 16
 * bytes in Base64.
 */
export function keyProblem(key) {
  if (!key) return ["key_empty", {}];
  const data = key.replace(/={1,2}$/, "");
  const wrong = [...data].find((character) => !BASE64.test(character));
  if (wrong) return ["key_character", { character: wrong }];
  if (key.length % 4) return ["key_padding", { length: key.length }];
  const { length } = atob(key);
  return length === KEY_BYTES ? null : ["key_length", { length }];
}

/** Return a new random key, as a browser makes one for each connection. */
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return btoa(String.fromCharCode(...bytes));
}

function bytesOf(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function hex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
