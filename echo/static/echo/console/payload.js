/**
 * Encodes what was typed as the message to send: a string for a text message, a
 * Uint8Array for a binary one.
 */

const HEX_SEPARATORS = /(?<![0-9a-f])0x|[\s:,]/gi;

/** Input that cannot be sent; `key` and `values` are of the text that explains it. */
export class PayloadError extends Error {
  constructor(key, values) {
    super(`${key} ${JSON.stringify(values)}`);
    this.key = key;
    this.values = values;
  }
}

/** Return the message for the typed text; throw PayloadError. */
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

/** Return JSON unchanged: it is sent as it was typed. */
function checkedJson(text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new PayloadError("bad_json", { message: error.message });
  }
  return text;
}

/** Return bytes from pairs of hex digits; skip spaces, colons, commas and 0x. */
function fromHex(text) {
  // Of the same length, so that a position in it is the position in the text.
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

/** Return bytes from base64 in either alphabet, padded or not; skip spaces. */
function fromBase64(text) {
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
