/**
 * Turns what a person typed into what goes over the wire, and bytes back into text.
 *
 * A text message is a string, a binary one a Uint8Array.
 */

const encoder = new TextEncoder();
const HEX_SEPARATORS = /(?<![0-9a-f])0x|[\s:,]/gi;
// String.fromCharCode takes its bytes as arguments, and engines limit those.
const CHUNK_BYTES = 0x8000;

/** Input that cannot be sent: the key of a text on the page, and the values for it. */
export class PayloadError extends Error {
  constructor(key, values) {
    super(`${key} ${JSON.stringify(values)}`);
    this.key = key;
    this.values = values;
  }
}

/** The message that the typed text stands for; throws PayloadError. */
export function encode(format, text) {
  switch (format) {
    case "text":
      return text;
    case "json":
      return checkedJson(text);
    case "hex":
      return fromHex(text);
    case "base64":
      return fromBase64(text);
    default:
      throw new TypeError(`expected text, json, hex or base64, got ${format}`);
  }
}

/** The text itself, once it is known to be JSON: an echo should see what was typed. */
function checkedJson(text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new PayloadError("bad_json", { message: error.message });
  }
  return text;
}

/**
 * Bytes from pairs of hex digits; spaces, colons, commas and 0x between them are
 * skipped.
 */
export function fromHex(text) {
  // As long as the text was, so that a position in it is one in the text.
  const spaced = text.replace(HEX_SEPARATORS, (separator) =>
    " ".repeat(separator.length),
  );
  const bad = /[^0-9a-f ]/i.exec(spaced);
  if (bad) {
    throw new PayloadError("bad_hex", { got: bad[0], position: bad.index + 1 });
  }
  const digits = spaced.replaceAll(" ", "");
  if (digits.length % 2) throw new PayloadError("odd_hex", { count: digits.length });
  return Uint8Array.from({ length: digits.length / 2 }, (_, index) =>
    Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16),
  );
}

/** Bytes from base64, either alphabet, padded or not, spaces skipped. */
export function fromBase64(text) {
  const bad = /[^A-Za-z0-9+/_\-=\s]/u.exec(text) ?? /=(?=\s*[^=\s])/.exec(text);
  if (bad) {
    throw new PayloadError("bad_base64", { got: bad[0], position: bad.index + 1 });
  }
  const digits = text.replace(/[\s=]/g, "").replaceAll("-", "+").replaceAll("_", "/");
  if (digits.length % 4 === 1) {
    throw new PayloadError("short_base64", { count: digits.length });
  }
  return Uint8Array.from(atob(digits), (character) => character.charCodeAt(0));
}

/** Lower-case hex digits, two for each byte. */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Standard base64 with padding. */
export function toBase64(bytes) {
  let binary = "";
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
    binary += String.fromCharCode(...bytes.subarray(start, start + CHUNK_BYTES));
  }
  return btoa(binary);
}

/** The message's length on the wire, in bytes. */
export function byteLength(message) {
  return typeof message === "string" ? encoder.encode(message).length : message.length;
}

/** True when both are the same message: the same type and the same content. */
export function isSame(one, other) {
  if (typeof one === "string" || typeof other === "string") return one === other;
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
