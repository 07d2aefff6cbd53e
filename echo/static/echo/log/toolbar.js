/** The controls of the log: filter, search, clear, copy and export. */

import { debounce } from "../site/schedule.js";
import { asNdjson, asText } from "./export.js";

const SEARCH_DEBOUNCE_MS = 120;

/** Make the log's controls work on its view; `copy(content, button)` is the page's. */
export function connectToolbar(root, view, copy) {
  const on = (selector, type, listener) =>
    root.querySelector(selector).addEventListener(type, listener);
  const search = root.querySelector("#search");
  const applySearch = debounce(
    () => view.filter(view.show, search.value),
    SEARCH_DEBOUNCE_MS,
  );
  on(".segments", "change", ({ target }) => view.filter(target.value, view.search));
  on("#search", "input", applySearch);
  on("#latest", "click", () => view.followAgain());
  on("#clear", "click", () => view.clear());
  on("#copy-log", "click", ({ target }) => copy(asText(view.store.rows), target));
  on("#export", "click", () => download(asNdjson(view.store.rows)));
}

function download(ndjson) {
  const blob = new Blob([ndjson], { type: "application/x-ndjson" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `wsdemo-${new Date().toISOString().replaceAll(":", "-")}.ndjson`;
  link.click();
  URL.revokeObjectURL(link.href);
}
