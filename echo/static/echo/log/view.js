/**
 * The log on a page: draws new rows once a frame, follows the newest one until the
 * reader scrolls up, and selects rows.
 */

import { oncePerFrame } from "../site/schedule.js";
import { Inspector } from "./inspector.js";
import { rowElement } from "./rowelement.js";
import { RowStore } from "./rows.js";
import { matches } from "./search.js";
import { connectToolbar } from "./toolbar.js";

// What a browser draws in a frame without missing the next: 12,000 rows a second.
const ROWS_PER_FRAME = 200;
// Within this distance of the end, the reader is at the end.
const END_PIXELS = 24;

export class LogView {
  /** `kit` is `{text, copy, number}`: the page's texts, clipboard and number format. */
  constructor(root, kit) {
    this.root = root;
    this.kit = kit;
    this.output = root.querySelector("#output");
    this.store = new RowStore(); // the rows kept, drawn or not
    this.rows = new WeakMap(); // rows by the elements drawn
    this.drawn = 0; // rows drawn so far, of all that were added
    this.follows = true; // the newest row is scrolled into view
    this.scrollTop = 0; // at the last scroll event, to recognize scrolling up
    this.show = "all"; // the direction of the rows shown
    this.search = ""; // the text that the rows shown contain
    this.selected = null; // a row's element
    this.scheduleDraw = oncePerFrame(() => this.draw());
    this.inspector = new Inspector(root.querySelector("#inspector"), kit, () =>
      this.select(null),
    );
    connectToolbar(root, this, kit.copy);
    this.listenToOutput();
  }

  /** Keep the row, and draw it in the next frame. */
  add(row) {
    this.store.add(row);
    this.scheduleDraw();
  }

  clear() {
    this.store.clear();
    this.drawn = this.store.added;
    this.output.replaceChildren();
    this.followAgain();
  }

  /** Show the rows of a direction (or all) that contain the text. */
  filter(show, search) {
    this.show = show;
    this.search = search;
    for (const element of this.output.children) {
      element.hidden = !matches(this.rows.get(element), show, search);
    }
    this.followAgain();
  }

  // --- drawing --------------------------------------------------------------------------

  /** Draw what is new; for a reader who has scrolled up, only the count changes. */
  draw() {
    const rows = this.follows ? this.store.from(this.drawn) : [];
    if (rows.length) this.append(rows);
    else this.prependSkipped();
    if (this.oldest > this.store.first) this.scheduleDraw();
    this.showCounts();
  }

  /** Draw rows at the end; of more than a frame can draw, the newest come first. */
  append(rows) {
    const newest = rows.slice(-ROWS_PER_FRAME);
    if (newest.length < rows.length) this.output.replaceChildren();
    this.output.append(...this.elements(newest));
    this.drawn = this.store.added;
    while (this.oldest < this.store.first) this.output.firstElementChild.remove();
    this.scrollToEnd();
  }

  /** Draw rows that were skipped, above the others, which keep their place. */
  prependSkipped() {
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

  elements(rows) {
    return rows.map((row) => {
      const element = rowElement(row, this.kit);
      element.hidden = !matches(row, this.show, this.search);
      this.rows.set(element, row);
      return element;
    });
  }

  showCounts() {
    const { text, number } = this.kit;
    const isEmpty = this.store.rows.length === 0;
    const undrawn = this.store.added - this.drawn;
    const latest = this.root.querySelector("#latest");
    latest.hidden = this.follows;
    latest.textContent = undrawn
      ? text("latest_new", { count: number.format(undrawn) })
      : text("latest");
    this.root.querySelector("#empty").hidden = !isEmpty;
    this.root.querySelector("#shown-total").textContent = isEmpty
      ? ""
      : this.totalText();
  }

  totalText() {
    const { text, number } = this.kit;
    const kept = number.format(this.store.rows.length);
    if (this.show === "all" && !this.search) return text("kept_total", { kept });
    const shown = this.visibleRows().length;
    return text("shown_total", { shown: number.format(shown), kept });
  }

  visibleRows() {
    return [...this.output.querySelectorAll(".row:not([hidden])")];
  }

  // --- following ------------------------------------------------------------------------

  scrollToEnd() {
    this.output.scrollTop = this.output.scrollHeight;
    this.scrollTop = this.output.scrollTop;
  }

  /** Go to the newest row and follow from there. */
  followAgain() {
    this.select(null);
    this.follows = true;
    this.draw();
  }

  /** Start or stop following the newest row. */
  follow(follows) {
    if (follows === this.follows) return;
    this.follows = follows;
    this.scheduleDraw();
  }

  /** Pause following when the reader scrolls up; rows that grow must not pause it. */
  handleScroll() {
    const isUpward = this.output.scrollTop < this.scrollTop;
    this.scrollTop = this.output.scrollTop;
    const isAtEnd = this.isAtEnd();
    if (isAtEnd || isUpward) this.follow(isAtEnd && !this.selected);
  }

  isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.output;
    return scrollHeight - clientHeight - scrollTop < END_PIXELS;
  }

  // --- selecting ------------------------------------------------------------------------

  listenToOutput() {
    const { output } = this;
    output.addEventListener("scroll", () => this.handleScroll(), { passive: true });
    output.addEventListener("click", ({ target }) => {
      // Marking text to copy it must not open the inspector.
      if (getSelection().isCollapsed) this.select(target.closest(".row"));
    });
    output.addEventListener("keydown", (event) => this.handleKey(event));
    // The end, or the selected row, stays in view when the window changes its size.
    new ResizeObserver(() => {
      if (this.follows) this.scrollToEnd();
      else this.selected?.scrollIntoView({ block: "nearest" });
    }).observe(output);
  }

  handleKey(event) {
    const target = this.keyTarget(event.key);
    if (target === undefined) return;
    event.preventDefault();
    if (target || event.key === "Escape") this.select(target);
  }

  /** Return the row that a key selects, null for Escape, undefined for other keys. */
  keyTarget(key) {
    const rows = this.visibleRows();
    const index = rows.indexOf(this.selected);
    switch (key) {
      case "ArrowUp":
        return rows.at(index > 0 ? index - 1 : index === 0 ? 0 : -1);
      case "ArrowDown":
        return rows[index + 1] ?? rows.at(-1);
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

  /** Select a row's element, which pauses following; null selects none. */
  select(element) {
    this.selected?.removeAttribute("aria-selected");
    this.selected = element;
    element?.setAttribute("aria-selected", "true");
    element?.scrollIntoView({ block: "nearest" });
    if (element) this.output.setAttribute("aria-activedescendant", element.id);
    else this.output.removeAttribute("aria-activedescendant");
    this.inspector.show(element ? this.rows.get(element) : null);
    this.follow(!element && this.isAtEnd());
  }
}
