/**
 * Close codes: their explanations, and those that a browser may send.
 *
 * Sources: RFC 6455 section 7.4, the IANA WebSocket close code registry, and the
 * WebSockets standard (https://websockets.spec.whatwg.org/#dom-websocket-close).
 */

/** Return the key of the text that explains the code. */
export function explanationKey(code) {
  if (code >= 4000) return "close_private";
  if (code >= 3000) return "close_registered";
  if (code === 1004 || code >= 1016) return "close_reserved";
  return `close_${code}`;
}

/** Return true for 1000 and 3000-4999; browsers refuse to send the other codes. */
export function isBrowserCloseCode(code) {
  return code === 1000 || (code >= 3000 && code <= 4999);
}

/**
 * Return the problem with a close code (as typed) and reason, `{key, values}`, or null.
 * `limit` is the reason's, in bytes of UTF-8.
 */
export function closeProblem(code, reason, limit) {
  if (!/^[0-9]{4}$/.test(code) || !isBrowserCloseCode(Number(code))) {
    return { key: "bad_close_code", values: { got: code } };
  }
  const size = new TextEncoder().encode(reason).length;
  return size > limit ? { key: "long_close_reason", values: { limit, size } } : null;
}
