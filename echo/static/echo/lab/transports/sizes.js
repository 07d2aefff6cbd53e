/**
 * How many bytes things have on the wire, computed from the standards: RFC 9112 for HTTP/1.1,
 * RFC 6455 for WebSocket, WHATWG HTML for event streams. Uses no network and no DOM.
 */

// Longer payloads have their length in 2 or 8 further bytes (RFC 6455 section 5.2).
const SHORT_FRAME_BYTES = 125;
const LONG_FRAME_BYTES = 0xffff;
const MASK_BYTES = 4;
const LINE_END = 2; // CR LF
const HTTP_DATE = "Sun, 22 Nov 2026 00:30:18 GMT";
const ACCEPT_KEY_CHARACTERS = 28;

const encoder = new TextEncoder();

/** Return a text's size in UTF-8. */
export function utf8Bytes(text) {
  return encoder.encode(text).length;
}

/** Return the size of an unfragmented frame with its header; a client masks its frames. */
export function frameBytes(payloadBytes, { isMasked = false } = {}) {
  let header = 2;
  if (payloadBytes > LONG_FRAME_BYTES) header += 8;
  else if (payloadBytes > SHORT_FRAME_BYTES) header += 2;
  return header + (isMasked ? MASK_BYTES : 0) + payloadBytes;
}

/** Return the size of a close frame's payload; 1005 stands for none. */
export function closePayloadBytes(code, reason) {
  return code === 1005 ? 0 : 2 + utf8Bytes(reason);
}

/** Return the size of a response's head: status line, fields and the empty line. */
export function responseHeadBytes({ status, statusText, headers }) {
  let size = `HTTP/1.1 ${status} ${statusText}`.length + LINE_END;
  for (const [name, value] of headers) size += fieldBytes(name, value);
  return size + LINE_END;
}

function fieldBytes(name, value) {
  return name.length + ": ".length + value.length + LINE_END;
}

/** Return the size of the response that accepts a WebSocket, from this server. */
export function switchingHeadBytes(server) {
  const fields = [
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Accept", "x".repeat(ACCEPT_KEY_CHARACTERS)],
    ["Date", HTTP_DATE],
  ];
  if (server) fields.push(["Server", server]);
  return responseHeadBytes({
    status: 101,
    statusText: "Switching Protocols",
    headers: fields,
  });
}

/** Return the size of one message of an event stream; `name` is "" for the default. */
export function streamMessageBytes({ name, id, data }) {
  const lines = [`data: ${data}`];
  if (name) lines.push(`event: ${name}`);
  if (id) lines.push(`id: ${id}`);
  return lines.reduce((sum, line) => sum + utf8Bytes(line) + 1, 1);
}

/** Return what the chunked coding adds to a chunk of a body (RFC 9112 section 7.1). */
export function chunkFramingBytes(chunkBytes) {
  return chunkBytes.toString(16).length + 2 * LINE_END;
}
