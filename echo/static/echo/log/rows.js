/**
 * The log's rows: made, kept within bounds, and turned into text. Uses no DOM.
 *
 * A row is `{direction, kind, time, message, length, …}`: direction is sent, received
 * or event; kind is text or binary, or for an event open, close or error; time is in
 * milliseconds since 1970; message is a string or a Uint8Array, and length its bytes.
 * A received row has `roundTrip` (ms or null), an open one `subprotocol`, a close one
 * `code`, `reason` and `clean`. An event of the feed has `id` and `topic`, and its
 * delivery delay in `roundTrip`. `label` replaces the words of gorilla's example, and
 * `note` is shown beside the line.
 */

import { BYTES_PER_LINE, hexdump } from "./hexdump.js";

const MAX_ROWS = 2000;
// Two thousand messages at the default cap of 1 MiB would not fit in a tab.
const MAX_BYTES = 64 * 1024 * 1024;
export const SHORT_CHARACTERS = 240;
const SHORT_LINES = 6;
const SHORT_DUMP_LINES = 4;

const encoder = new TextEncoder();

/** Return the message's length on the wire, in bytes. */
export function byteLength(message) {
  return typeof message === "string" ? encoder.encode(message).length : message.length;
}

/** Return the row of a message, as of now; `direction` is sent or received. */
export function messageRow(direction, message, details) {
  const kind = typeof message === "string" ? "text" : "binary";
  const length = byteLength(message);
  return { direction, kind, time: Date.now(), message, length, ...details };
}

/** Return the row of something that happened to the connection, as of now. */
export function eventRow(kind, details) {
  const row = { direction: "event", kind, time: Date.now(), message: "", length: 0 };
  return { ...row, ...details };
}

/** The newest rows, at most `maxRows` of them and `maxBytes` of messages. */
export class RowStore {
  constructor(maxRows = MAX_ROWS, maxBytes = MAX_BYTES) {
    this.maxRows = maxRows;
    this.maxBytes = maxBytes;
    this.rows = []; // the oldest first
    this.bytes = 0; // of the messages of these rows
    this.added = 0; // rows so far; the number of the next row
  }

  /** Add the row and number it; the numbers of the rows kept have no gap. */
  add(row) {
    row.number = this.added++;
    this.rows.push(row);
    this.bytes += row.length;
    this.dropOldest();
    return row;
  }

  /** Enforce the bounds; the newest row always stays. */
  dropOldest() {
    let count = 0;
    while (
      this.rows.length - count > 1 &&
      (this.rows.length - count > this.maxRows || this.bytes > this.maxBytes)
    ) {
      this.bytes -= this.rows[count++].length;
    }
    // Splicing at the front is cheap: engines move the array's start.
    if (count) this.rows.splice(0, count);
  }

  /** Return the rows from this number on that are still kept. */
  from(number) {
    return this.rows.slice(Math.max(0, number - this.first));
  }

  /** The number of the oldest row kept. */
  get first() {
    return this.added - this.rows.length;
  }

  clear() {
    this.rows = [];
    this.bytes = 0;
  }
}

/** Return what a line says before the message: the row's label, or gorilla's. */
export function label(row) {
  if (row.label !== undefined) return row.label;
  switch (row.direction) {
    case "sent":
      return "SEND: ";
    case "received":
      return "RESPONSE: ";
    case "event":
      return row.kind === "error" ? "ERROR: " : row.kind.toUpperCase();
    default:
      throw new TypeError(`expected sent, received or event, got ${row.direction}`);
  }
}

/** Return the message in full: text as it is, bytes as a hex dump. */
export function fullText(row) {
  return typeof row.message === "string" ? row.message : hexdump(row.message);
}

/** Return the message's beginning, as the log shows it, with an ellipsis if cut. */
export function shortText(row) {
  if (typeof row.message !== "string") return shortDump(row.message);
  const lines = row.message.slice(0, SHORT_CHARACTERS).split("\n", SHORT_LINES);
  const shown = lines.join("\n");
  return shown.length < row.message.length ? `${shown}…` : shown;
}

function shortDump(bytes) {
  const dump = hexdump(bytes, SHORT_DUMP_LINES);
  return bytes.length > SHORT_DUMP_LINES * BYTES_PER_LINE ? `${dump}\n…` : dump;
}
