/** The panel below the log that shows the selected row's message in full. */

import { BYTES_PER_LINE, hexdump } from "./hexdump.js";
import { timeText } from "./rowelement.js";
import { fullText } from "./rows.js";

// Drawing more would freeze the page; Copy has the whole message.
const MAX_CHARACTERS = 64 * 1024;
const CHARACTERS_PER_DUMP_LINE = 64;
const MAX_DUMP_LINES = MAX_CHARACTERS / CHARACTERS_PER_DUMP_LINE;

export class Inspector {
  /** `kit` is `{text, copy, number}`; `dismiss` is called by the panel's button. */
  constructor(panel, kit, dismiss) {
    this.panel = panel;
    this.kit = kit;
    this.row = null;
    panel
      .querySelector("#copy-row")
      .addEventListener("click", ({ target }) => kit.copy(fullText(this.row), target));
    panel.querySelector("#close-inspector").addEventListener("click", dismiss);
  }

  /** Show the row; hide the panel for null. */
  show(row) {
    this.row = row;
    this.panel.hidden = row === null;
    if (row === null) return;
    const { content, shownBytes } = inspect(row);
    this.panel.querySelector("#inspector-title").textContent = this.title(shownBytes);
    this.panel.querySelector("#inspector-body").textContent = content;
  }

  title(shownBytes) {
    const { row } = this;
    const { text, number } = this.kit;
    const kind = row.direction === "event" ? "event" : row.kind;
    const key = shownBytes < row.length ? "inspected_cut" : "inspected";
    return text(key, {
      time: timeText(row),
      type: text(`type_${kind}`),
      bytes: number.format(row.length),
      shown: number.format(shownBytes),
    });
  }
}

/** Return the text to draw, and how many of the message's bytes it has. */
function inspect(row) {
  if (typeof row.message !== "string") {
    const shownBytes = Math.min(row.length, MAX_DUMP_LINES * BYTES_PER_LINE);
    return { content: hexdump(row.message, MAX_DUMP_LINES), shownBytes };
  }
  if (row.direction === "event") {
    return { content: row.note ?? row.message, shownBytes: 0 };
  }
  const content = row.message.slice(0, MAX_CHARACTERS);
  if (content.length < row.message.length) {
    return { content, shownBytes: new TextEncoder().encode(content).length };
  }
  return { content: indented(content), shownBytes: row.length };
}

/**
 * Return a JSON object or array indented; any other text, and JSON that would lose
 * digits of a long number, as it is.
 */
function indented(text) {
  if (!/^\s*[[{]/.test(text)) return text;
  const bare = (json) => json.replace(/\s/g, "");
  try {
    const json = JSON.stringify(JSON.parse(text), null, 2);
    return bare(json) === bare(text) ? json : text;
  } catch {
    return text;
  }
}
