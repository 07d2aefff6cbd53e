/** Writes the log as text for the clipboard, and as NDJSON for a file. Uses no DOM. */

import { fullText, label } from "./rows.js";

// String.fromCharCode takes the bytes as arguments, whose number engines limit.
const CHUNK_BYTES = 0x8000;

/** Return gorilla's lines, each after its time, with messages in full. */
export function asText(rows) {
  const lines = rows.map(
    (row) =>
      `${new Date(row.time).toISOString()}  ${label(row)}${fullText(row)}${closeText(row)}\n`,
  );
  return lines.join("");
}

function closeText(row) {
  if (row.kind !== "close") return "";
  return ` ${row.code} ${row.clean ? "clean" : "unclean"} ${row.reason}`.trimEnd();
}

/** Return one JSON object a line; bytes are in base64. */
export function asNdjson(rows) {
  return rows.map((row) => `${JSON.stringify(asObject(row))}\n`).join("");
}

function asObject(row) {
  const common = {
    time: new Date(row.time).toISOString(),
    direction: row.direction,
    type: row.kind,
  };
  switch (row.kind) {
    case "text":
      return { ...common, ...measures(row), text: row.message };
    case "binary":
      return { ...common, ...measures(row), base64: toBase64(row.message) };
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

function measures(row) {
  if (row.topic) {
    return { bytes: row.length, delay_ms: row.roundTrip, id: row.id, topic: row.topic };
  }
  return { bytes: row.length, round_trip_ms: row.roundTrip };
}

/** Return standard base64 with padding. */
export function toBase64(bytes) {
  let binary = "";
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
    binary += String.fromCharCode(...bytes.subarray(start, start + CHUNK_BYTES));
  }
  return btoa(binary);
}
