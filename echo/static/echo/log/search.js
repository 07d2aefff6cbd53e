/** Chooses the rows to show, by direction and by text. Uses no DOM. */

import { hexdump } from "./hexdump.js";
import { label } from "./rows.js";

// The dump of a long message is five times its size: only its beginning is searched.
const SEARCHED_LINES = 256;

/**
 * Return true if the row has the direction (or `show` is all), and its line or details
 * contain the text, in any case of letters.
 */
export function matches(row, show, search) {
  if (show !== "all" && row.direction !== show) return false;
  if (!search) return true;
  return searchText(row).toLowerCase().includes(search.toLowerCase());
}

// Not kept with the row: that would double the memory of the log.
function searchText(row) {
  const details = [row.code, row.reason, row.subprotocol, row.topic]
    .filter(Boolean)
    .join(" ");
  const message =
    typeof row.message === "string"
      ? row.message
      : hexdump(row.message, SEARCHED_LINES);
  return `${label(row)}${message} ${details}`;
}
