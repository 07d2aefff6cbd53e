/**
 * The log on the page: draws rows once a frame, follows the newest one until the reader
 * scrolls up, filters, selects, copies and exports.
 */

import { hexdump } from "./hexdump.js";
import { asNdjson, asText, cut, label, matches, RowStore, whole } from "./rows.js";

const SEARCH_DEBOUNCE_MS = 120;
// What a browser draws in a frame without missing the next: 12,000 rows a second.
const ROWS_PER_FRAME = 200;
// Within this many pixels of the end, a reader is at the end.
const END_PIXELS = 24;
// What the inspector draws; more would freeze the page, and Copy has it all.
const INSPECTED_CHARACTERS = 64 * 1024;

export class LogView {
  /** `kit` is `{text, copy, number}`: the page's texts, clipboard and number format. */
  constructor(root, kit) {
    this.root = root;
    this.kit = kit;
    this.output = root.querySelector("#output");
    this.store = new RowStore();
    this.rows = new WeakMap();
    this.drawn = 0;
    this.follows = true;
    this.show = "all";
    this.search = "";
    this.clock = timeFormat();
    this.listenToTools();
    this.listenToOutput();
  }

  /** Keeps the row, and draws it in the next frame. */
  add(row) {
    this.store.add(row);
    this.drawSoon();
  }

  drawSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** Draws what is new; a reader who has scrolled up only sees the count change. */
  draw() {
    const rows = this.follows ? this.store.from(this.drawn) : [];
    if (rows.length) this.append(rows);
    else this.fillIn();
    if (this.oldest > this.store.first) this.drawSoon();
    this.showCounts();
  }

  /**
   * Draws rows at the end. When more came than a frame can draw, the newest go first.
   */
  append(rows) {
    const shown = rows.slice(-ROWS_PER_FRAME);
    if (shown.length < rows.length) this.output.replaceChildren();
    this.output.append(...this.elements(shown));
    this.drawn = this.store.added;
    while (this.oldest < this.store.first) this.output.firstElementChild.remove();
    this.scrollToEnd();
  }

  /** Draws rows that had to wait, above the others, which stay where they are. */
  fillIn() {
    const { oldest } = this;
    const from = Math.max(this.store.first, oldest - ROWS_PER_FRAME);
    if (from >= oldest) return;
    const below = this.output.scrollHeight - this.output.scrollTop;
    this.output.prepend(
      ...this.elements(this.store.from(from).slice(0, oldest - from)),
    );
    this.output.scrollTop = this.output.scrollHeight - below;
    this.scrollTop = this.output.scrollTop;
  }

  /** The number of the oldest row drawn. */
  get oldest() {
    const { firstElementChild } = this.output;
    return firstElementChild
      ? this.rows.get(firstElementChild).number
      : this.store.added;
  }

  scrollToEnd() {
    this.output.scrollTop = this.output.scrollHeight;
    this.scrollTop = this.output.scrollTop;
  }

  /** Goes to the newest row, whatever the reader was reading. */
  followAgain() {
    this.select(null);
    this.follows = true;
    this.draw();
  }

  elements(rows) {
    return rows.map((row) => this.element(row));
  }

  element(row) {
    const element = document.createElement("div");
    element.className = "row";
    element.id = `row-${row.number}`;
    element.role = "option";
    element.dataset.direction = row.direction;
    element.dataset.kind = row.kind;
    element.hidden = !matches(row, this.show, this.search);
    element.append(
      cell("time", this.clock.format(row.time)),
      cell("mark", mark(row)),
      this.message(row),
      cell("type", row.direction === "event" ? "" : this.kit.text(`type_${row.kind}`)),
      cell(
        "length",
        row.direction === "event" ? "" : this.kit.number.format(row.length),
      ),
      cell("round-trip", row.roundTrip == null ? "" : `${row.roundTrip.toFixed(1)} ms`),
    );
    this.rows.set(element, row);
    return element;
  }

  /**
   * gorilla's line, whole and alone in its element; what more there is stands beside
   * it.
   */
  message(row) {
    const box = cell("message", "");
    const line = cell("line", label(row));
    const payload = cell(row.kind === "binary" ? "dump" : "payload", cut(row));
    if (payload.textContent) line.append(payload);
    box.append(line);
    if (row.note) box.append(cell("note", row.note));
    return box;
  }

  showCounts() {
    const { text, number } = this.kit;
    const isEmpty = this.store.rows.length === 0;
    const waiting = this.store.added - this.drawn;
    const latest = this.root.querySelector("#latest");
    latest.hidden = this.follows;
    latest.textContent = waiting
      ? text("latest_new", { count: number.format(waiting) })
      : text("latest");
    this.root.querySelector("#empty").hidden = !isEmpty;
    this.root.querySelector("#shown-total").textContent = isEmpty ? "" : this.shown();
  }

  shown() {
    const { text, number } = this.kit;
    const kept = number.format(this.store.rows.length);
    if (this.show === "all" && !this.search) return text("kept_total", { kept });
    const shown = this.output.querySelectorAll(".row:not([hidden])").length;
    return text("shown_total", { shown: number.format(shown), kept });
  }

  listenToTools() {
    const on = (selector, type, listener) =>
      this.root.querySelector(selector).addEventListener(type, listener);
    on(".segments", "change", ({ target }) => this.filter(target.value, this.search));
    on("#search", "input", ({ target }) => {
      clearTimeout(this.searching);
      const apply = () => this.filter(this.show, target.value);
      this.searching = setTimeout(apply, SEARCH_DEBOUNCE_MS);
    });
    on("#latest", "click", () => this.followAgain());
    on("#clear", "click", () => this.clear());
    on("#copy-log", "click", ({ target }) =>
      this.kit.copy(asText(this.store.rows), target),
    );
    on("#export", "click", () => this.export());
    on("#copy-row", "click", ({ target }) =>
      this.kit.copy(whole(this.inspected), target),
    );
    on("#close-inspector", "click", () => this.select(null));
  }

  listenToOutput() {
    const { output } = this;
    output.addEventListener("scroll", () => this.scrolled(), { passive: true });
    output.addEventListener("click", ({ target }) => {
      // A reader who marks text to copy it does not want a panel to open.
      if (getSelection().isCollapsed) this.select(target.closest(".row"));
    });
    output.addEventListener("keydown", (event) => this.pressed(event));
    // A log that grows or shrinks with the window stays at its end.
    new ResizeObserver(() => {
      if (this.follows) this.scrollToEnd();
      else this.selected?.scrollIntoView({ block: "nearest" });
    }).observe(output);
  }

  /**
   * Only a reader's own way up pauses: growing rows are no reason to stop following.
   */
  scrolled() {
    const wentUp = this.output.scrollTop < this.scrollTop;
    this.scrollTop = this.output.scrollTop;
    const isAtEnd = this.isAtEnd();
    if (isAtEnd || wentUp) this.follow(isAtEnd && !this.selected);
  }

  isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.output;
    return scrollHeight - clientHeight - scrollTop < END_PIXELS;
  }

  /** Follows the newest row, or holds still for a reader. */
  follow(follows) {
    if (follows === this.follows) return;
    this.follows = follows;
    this.drawSoon();
  }

  filter(show, search) {
    this.show = show;
    this.search = search;
    for (const element of this.output.children) {
      element.hidden = !matches(this.rows.get(element), show, search);
    }
    this.followAgain();
  }

  pressed(event) {
    const next = this.neighbour(event.key);
    if (next === undefined) return;
    event.preventDefault();
    if (next || event.key === "Escape") this.select(next);
  }

  /** The row a key goes to; undefined for a key that goes nowhere. */
  neighbour(key) {
    const rows = [...this.output.querySelectorAll(".row:not([hidden])")];
    const at = rows.indexOf(this.selected);
    switch (key) {
      case "ArrowUp":
        return rows.at(at > 0 ? at - 1 : at === 0 ? 0 : -1);
      case "ArrowDown":
        return rows[at + 1] ?? rows.at(-1);
      case "Home":
        return rows[0];
      case "End":
        return rows.at(-1);
      case "Escape":
        return null;
      default:
        return undefined;
    }
  }

  /** Selects a row's element, which holds the log still; or none. */
  select(element) {
    this.selected?.removeAttribute("aria-selected");
    this.selected = element;
    element?.setAttribute("aria-selected", "true");
    element?.scrollIntoView({ block: "nearest" });
    if (element) this.output.setAttribute("aria-activedescendant", element.id);
    else this.output.removeAttribute("aria-activedescendant");
    this.inspect(element ? this.rows.get(element) : null);
    this.follow(!element && this.isAtEnd());
  }

  /** Shows the whole message of a row, as far as a page can draw it. */
  inspect(row) {
    const inspector = this.root.querySelector("#inspector");
    this.inspected = row;
    inspector.hidden = row === null;
    if (row === null) return;
    const body = inspected(row);
    inspector.querySelector("#inspector-title").textContent = this.title(
      row,
      body.shown,
    );
    inspector.querySelector("#inspector-body").textContent = body.text;
  }

  title(row, shown) {
    const { text, number } = this.kit;
    const kind = row.direction === "event" ? "event" : row.kind;
    const key = shown < row.length ? "inspected_cut" : "inspected";
    return text(key, {
      time: this.clock.format(row.time),
      type: text(`type_${kind}`),
      bytes: number.format(row.length),
      shown: number.format(shown),
    });
  }

  clear() {
    this.store.clear();
    this.drawn = this.store.added;
    this.output.replaceChildren();
    this.followAgain();
  }

  export() {
    const blob = new Blob([asNdjson(this.store.rows)], {
      type: "application/x-ndjson",
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `wsdemo-${new Date().toISOString().replaceAll(":", "-")}.ndjson`;
    link.click();
    URL.revokeObjectURL(link.href);
  }
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
      return "";
    default:
      throw new TypeError(`expected sent, received or event, got ${row.direction}`);
  }
}

/** The text to draw, and how many of the message's bytes it stands for. */
function inspected(row) {
  if (typeof row.message !== "string") {
    const lines = INSPECTED_CHARACTERS / 64;
    return {
      text: hexdump(row.message, lines),
      shown: Math.min(row.length, lines * 16),
    };
  }
  if (row.direction === "event") return { text: row.note ?? row.message, shown: 0 };
  const shown = row.message.slice(0, INSPECTED_CHARACTERS);
  if (shown.length < row.message.length) {
    return { text: shown, shown: new TextEncoder().encode(shown).length };
  }
  return { text: pretty(shown), shown: row.length };
}

/**
 * JSON objects and arrays are indented where nothing is lost by it, such as long
 * numbers.
 */
function pretty(text) {
  if (!/^\s*[[{]/.test(text)) return text;
  const bare = (json) => json.replace(/\s/g, "");
  try {
    const indented = JSON.stringify(JSON.parse(text), null, 2);
    return bare(indented) === bare(text) ? indented : text;
  } catch {
    return text;
  }
}

function timeFormat() {
  return new Intl.DateTimeFormat("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
  });
}
