/** Makes the element of one row. */

import { label, shortText } from "./rows.js";

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});

/** Return the row's time of day, with milliseconds. */
export function timeText(row) {
  return clock.format(row.time);
}

/** Return the row's element; `text` and `number` are the page's. */
export function rowElement(row, { text, number }) {
  const isEvent = row.direction === "event";
  const element = document.createElement("div");
  element.className = "row";
  element.id = `row-${row.number}`;
  element.role = "option";
  element.dataset.direction = row.direction;
  element.dataset.kind = row.kind;
  if (row.id) element.dataset.id = row.id;
  element.append(
    cell("time", timeText(row)),
    cell("mark", mark(row)),
    messageCell(row),
    cell("type", row.topic ?? (isEvent ? "" : text(`type_${row.kind}`))),
    cell("length", isEvent ? "" : number.format(row.length)),
    cell("round-trip", row.roundTrip == null ? "" : `${row.roundTrip.toFixed(1)} ms`),
  );
  return element;
}

/** Return the cell with gorilla's line, whole and in its own element, and the note. */
function messageCell(row) {
  const box = cell("message", "");
  const line = cell("line", label(row));
  const payload = cell(row.kind === "binary" ? "dump" : "payload", shortText(row));
  if (payload.textContent) line.append(payload);
  box.append(line);
  if (row.note) box.append(cell("note", row.note));
  return box;
}

function cell(name, content) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = content;
  return element;
}

function mark(row) {
  switch (row.direction) {
    case "sent":
      return "→";
    case "received":
      return "←";
    case "event":
      return ""; // CSS draws it, by the row's kind
    default:
      throw new TypeError(`expected sent, received or event, got ${row.direction}`);
  }
}
