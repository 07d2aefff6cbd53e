/**
 * The log's rows: kept within bounds, worded, searched, and exported. Knows no DOM.
 *
 * A row is `{direction, kind, time, message, length, …}`: direction is sent, received
 * or event; kind is text or binary, or for an event open, close or error; time is in
 * milliseconds since 1970; message is a string or a Uint8Array, and length its bytes.
 * What was received has `roundTrip` (ms or null), an open `subprotocol`, a close
 * `code`, `reason` and `clean`. An event of the feed has `id` and `topic`, and its delay
 * for a `roundTrip`; `label` stands in place of gorilla's words.
 */

import { hexdump } from "./hexdump.js";
import { toBase64 } from "./payload.js";

export const MAX_ROWS = 2000;
// Two thousand messages at the default cap of 1 MiB would not fit in a tab.
export const MAX_BYTES = 64 * 1024 * 1024;
export const CUT_CHARACTERS = 240;
export const CUT_LINES = 6;
const CUT_DUMP_LINES = 4;
// The dump of a long message is five times its size: only its beginning is searched.
const SEARCHED_LINES = 256;

/** The newest rows, at most `maxRows` of them and `maxBytes` of payload. */
export class RowStore {
  constructor(maxRows = MAX_ROWS, maxBytes = MAX_BYTES) {
    this.maxRows = maxRows;
    this.maxBytes = maxBytes;
    this.rows = [];
    this.bytes = 0;
    this.added = 0;
  }

  /** Adds the row and numbers it; the numbers of a store's rows have no gap. */
  add(row) {
    row.number = this.added++;
    this.rows.push(row);
    this.bytes += row.length;
    this.dropOldest();
    return row;
  }

  /** Makes room; the newest row always stays. */
  dropOldest() {
    let count = 0;
    while (
      this.rows.length - count > 1 &&
      (this.rows.length - count > this.maxRows || this.bytes > this.maxBytes)
    ) {
      this.bytes -= this.rows[count++].length;
    }
    // Array.shift and splice at the front are cheap here: engines move the array's
    // start.
    if (count) this.rows.splice(0, count);
  }

  /** The rows from this number on that are still kept. */
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

/** What a line says before the message: the row's own words, or gorilla's. */
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

/** The message in full: text as it is, bytes as a hex dump. */
export function whole(row) {
  return typeof row.message === "string" ? row.message : hexdump(row.message);
}

/** The message as the log shows it: long ones end in an ellipsis. */
export function cut(row) {
  if (typeof row.message !== "string") return cutDump(row.message);
  const lines = row.message.slice(0, CUT_CHARACTERS).split("\n", CUT_LINES);
  const shown = lines.join("\n");
  return shown.length < row.message.length ? `${shown}…` : shown;
}

function cutDump(bytes) {
  const dump = hexdump(bytes, CUT_DUMP_LINES);
  return bytes.length > CUT_DUMP_LINES * 16 ? `${dump}\n…` : dump;
}

/**
 * True when the row is of the shown direction and its line or details hold the text.
 */
export function matches(row, show, search) {
  if (show !== "all" && row.direction !== show) return false;
  if (!search) return true;
  return searchable(row).toLowerCase().includes(search.toLowerCase());
}

// Not kept with the row: that would double what the log holds.
function searchable(row) {
  const details = [row.code, row.reason, row.subprotocol, row.topic]
    .filter(Boolean)
    .join(" ");
  const message =
    typeof row.message === "string"
      ? row.message
      : hexdump(row.message, SEARCHED_LINES);
  return `${label(row)}${message} ${details}`;
}

/** The log as gorilla's lines, each after its time, messages in full. */
export function asText(rows) {
  const lines = rows.map(
    (row) =>
      `${new Date(row.time).toISOString()}  ${label(row)}${whole(row)}${ending(row)}\n`,
  );
  return lines.join("");
}

function ending(row) {
  if (row.kind !== "close") return "";
  return ` ${row.code} ${row.clean ? "clean" : "unclean"} ${row.reason}`.trimEnd();
}

/** One JSON object a line; bytes are in base64, which `jq` and every language read. */
export function asNdjson(rows) {
  return rows.map((row) => `${JSON.stringify(exported(row))}\n`).join("");
}

function exported(row) {
  const common = {
    time: new Date(row.time).toISOString(),
    direction: row.direction,
    type: row.kind,
  };
  switch (row.kind) {
    case "text":
      return { ...common, ...measured(row), text: row.message };
    case "binary":
      return { ...common, ...measured(row), base64: toBase64(row.message) };
    case "open":
      return { ...common, subprotocol: row.subprotocol };
    case "close":
      return { ...common, code: row.code, reason: row.reason, clean: row.clean };
    case "error":
      return { ...common, detail: row.message };
    default:
      throw new TypeError(`expected a kind of row, got ${row.kind}`);
  }
}

function measured(row) {
  if (row.topic) {
    return { bytes: row.length, delay_ms: row.roundTrip, id: row.id, topic: row.topic };
  }
  return { bytes: row.length, round_trip_ms: row.roundTrip };
}
