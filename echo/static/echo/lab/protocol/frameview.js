/** Shows a decoded frame (echo/lab/frames.py): its bits and bytes, and each field with its meaning. */

const MAX_SHOWN_BYTES = 64;
const RFC = "https://www.rfc-editor.org/rfc/rfc6455#section-";
/** Parts of the payload: their bytes are marked, and not drawn twice. */
const INSIDE_PAYLOAD = ["close_code", "close_reason"];

/** Return an element with a class, and text or children. */
export function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

/** Return the bytes in hexadecimal digits, two digits each. */
export const pairs = (hex) => hex.match(/../g) ?? [];

/** Return a frame's kind in a few words, such as "text" or "pong"; with "…" if more follow. */
export function kindOf(frame, text) {
  const kind = text(`opcode_${frame.opcode}`);
  return frame.fin ? kind : `${kind} …`;
}

/** Return what stands in a frame's payload, in short. */
export function previewOf(frame) {
  const payload = fieldOf(frame, "payload");
  if (!payload) return "";
  const code = fieldOf(frame, "close_code");
  if (code)
    return `${code.value} ${fieldOf(frame, "close_reason")?.value ?? ""}`.trim();
  const shown = payload.text ?? printable(payload.value);
  const preview = [...shown].slice(0, 60).join("");
  return preview.length < shown.length || payload.hidden ? `${preview}…` : preview;
}

/** Return the field of a frame, or undefined. */
export function fieldOf(frame, name) {
  return frame.fields.find(({ field }) => field === name);
}

/** Return the picture and the table of a frame; `text` gives the page's texts. */
export function renderFrame(frame, text) {
  const view = element("div", "frame-view");
  const picture = element("div", "frame-picture", ...drawn(frame));
  picture.setAttribute("aria-hidden", "true"); // the table has all of it
  view.append(picture, unmasked(frame, text), table(frame, text));
  const notes = [...frame.errors.map((error) => errorText(error, text))];
  if (frame.missing) {
    const key = frame.at_least ? "frame_needs_at_least" : "frame_needs";
    notes.push(text(key, { bytes: frame.missing }));
  }
  if (frame.unread) notes.push(text("frame_unread"));
  if (notes.length) view.append(list(notes));
  connectMarks(view);
  return view;
}

/** Return what is wrong, with its section and its close code. */
export function errorText({ error, section, close_code }, text) {
  const what = text(`error_${error.replaceAll("-", "_")}`);
  return text("error", { what, section, code: close_code });
}

function list(notes) {
  const items = notes.map((note) => element("li", "", note));
  return element("ul", "frame-notes", ...items);
}

/** Return the boxes of the picture: bits of the first bytes, then bytes. */
function* drawn(frame) {
  const bytes = pairs(frame.hex);
  for (const field of frame.fields) {
    if (INSIDE_PAYLOAD.includes(field.field)) continue;
    if (field.bits) yield box(field, bitsOf(bytes[field.start], field.bits), "bits");
    else yield* boxes(field, bytes.slice(field.start, field.end));
  }
}

function bitsOf(byte, [first, end]) {
  return Number.parseInt(byte, 16).toString(2).padStart(8, "0").slice(first, end);
}

function* boxes(field, bytes) {
  for (const [index, byte] of bytes.slice(0, MAX_SHOWN_BYTES).entries()) {
    yield box(field, byte, "byte", field.start + index);
  }
  if (field.end - field.start > MAX_SHOWN_BYTES) yield box(field, "…", "byte");
}

function box(field, shown, kind, place) {
  const made = element("span", `part ${kind}`, shown);
  made.dataset.field = field.field;
  if (place !== undefined) made.dataset.place = place;
  return made;
}

/** Return the payload without its mask, below the bytes that are masked. */
function unmasked(frame, text) {
  const payload = fieldOf(frame, "payload");
  const row = element("div", "frame-picture");
  row.setAttribute("aria-hidden", "true");
  row.hidden = !frame.masked || !payload;
  if (row.hidden) return row;
  const bytes = pairs(payload.value);
  row.append(element("span", "part-label", text("unmasked")), ...boxes(payload, bytes));
  return row;
}

function table(frame, text) {
  const columns = ["field", "value"].map((name) => {
    const cell = element("th", "", text(`frame_column_${name}`));
    cell.scope = "col";
    return cell;
  });
  const rows = frame.fields.map((field) => row(frame, field, text));
  return element(
    "table",
    "frame-fields",
    element("caption", "visually-hidden", text("frame_caption")),
    element("thead", "visually-hidden", element("tr", "", ...columns)),
    element("tbody", "", ...rows),
  );
}

function row(frame, field, text) {
  const place = element("span", "place", placeOf(field, text));
  const name = element("th", "", text(`field_${field.field}`), " ", place);
  name.scope = "row";
  const section = element("a", "section", `§ ${field.section}`);
  section.href = RFC + field.section;
  section.setAttribute("aria-label", text("section", { section: field.section }));
  const value = element("div", "value", ...valueCell(frame, field, text));
  const meaning = element("div", "", meaningOf(frame, field, text), " ", section);
  const both = element("div", "both", value, meaning);
  const made = element("tr", "", name, element("td", "", both));
  made.dataset.field = field.field;
  made.dataset.start = field.start;
  made.dataset.end = field.end;
  if (frame.errors.some((error) => error.field === field.field)) {
    made.dataset.wrong = "true";
  }
  return made;
}

/** Return where a field is, counted as in the picture: bytes and bits from 0. */
function placeOf({ start, end, bits }, text) {
  if (bits) {
    const [first, past] = bits;
    const key = past - first > 1 ? "place_bits" : "place_bit";
    return text(key, { byte: start, first, last: past - 1 });
  }
  const key = end - start > 1 ? "place_bytes" : "place_byte";
  return text(key, { first: start, last: end - 1 });
}

function valueCell(frame, field, text) {
  if (field.field === "payload") return payloadOf(frame, field, text);
  if (field.field === "masking_key") return [pairs(field.value).join(" ")];
  if (field.field === "opcode") {
    return [`${field.value} · 0x${field.value.toString(16).toUpperCase()}`];
  }
  return [String(field.value)];
}

function payloadOf(frame, field, text) {
  const more = field.hidden || pairs(field.value).length > MAX_SHOWN_BYTES ? " …" : "";
  const shown = (hex) => pairs(hex).slice(0, MAX_SHOWN_BYTES).join(" ") + more;
  const lines = [];
  if (frame.masked) {
    const masked = frame.hex.slice(2 * field.start, 2 * field.end);
    lines.push(`${text("masked")} ${shown(masked)}`, `${text("unmasked")} `);
  } else lines.push("");
  lines[lines.length - 1] += shown(field.value);
  if (field.text !== null) lines.push(`“${previewOf(frame)}”`);
  return lines.map((line) => element("div", "", line));
}

function meaningOf(frame, field, text) {
  const { field: name, value } = field;
  if (name.startsWith("rsv")) return text(value ? "means_rsv_1" : "means_rsv_0");
  if (name === "opcode") return text("means_opcode", { kind: text(`opcode_${value}`) });
  if (name === "fin" || name === "mask") return text(`means_${name}_${value}`);
  if (name === "length" && value >= 126) return text(`means_length_${value}`);
  if (name === "payload") {
    return text(frame.masked ? "means_payload_masked" : "means_payload", {
      bytes: field.end - field.start,
    });
  }
  return text(`means_${name}`, { value });
}

/** Mark a field's bytes and its row while the pointer or the focus is on either. */
function connectMarks(view) {
  const mark = (from) => {
    const found = from?.closest?.("[data-field]");
    const row = found && rowOf(view, found);
    for (const other of view.querySelectorAll("[data-field]")) {
      other.classList.toggle("marked", isMarked(other, row));
    }
  };
  view.addEventListener("pointerover", ({ target }) => mark(target));
  view.addEventListener("pointerleave", () => mark(document.activeElement));
  view.addEventListener("focusin", ({ target }) => mark(target));
  view.addEventListener("focusout", () => mark(null));
}

function rowOf(view, found) {
  if (found.tagName === "TR") return found;
  return view.querySelector(`tr[data-field="${found.dataset.field}"]`);
}

function isMarked(other, row) {
  if (!row) return false;
  if (other === row) return true;
  if (other.tagName === "TR") return false;
  if (!INSIDE_PAYLOAD.includes(row.dataset.field)) {
    return other.dataset.field === row.dataset.field;
  }
  if (other.dataset.field !== "payload" || !other.dataset.place) return false;
  const place = Number(other.dataset.place);
  return place >= Number(row.dataset.start) && place < Number(row.dataset.end);
}

function printable(hex) {
  const codes = pairs(hex).map((pair) => Number.parseInt(pair, 16));
  return codes
    .map((code) => (code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : "."))
    .join("");
}
