/** Keeps the log's rows and the cursor in sessionStorage, for a reload of the page. */

// Browsers keep about 5 MiB for a tab.
const MAX_ROWS = 500;
const MAX_CHARACTERS = 1024 * 1024;
const ROW_CHARACTERS = 200; // about, besides the message
const KEY = "live";

/** Return the newest rows that fit, in order. */
export function rowsToKeep(rows) {
  const kept = [];
  let size = 0;
  for (const row of rows.slice(-MAX_ROWS).reverse()) {
    size += row.message.length + ROW_CHARACTERS;
    if (size > MAX_CHARACTERS) break;
    kept.unshift(row);
  }
  return kept;
}

/** Save rows and cursor together, so that neither can be ahead of the other. */
export function saveSnapshot({ query, cursor, received, rows }) {
  const snapshot = { query, cursor, received, rows: rowsToKeep(rows) };
  try {
    sessionStorage.setItem(KEY, JSON.stringify(snapshot));
  } catch {
    // Full or refused: the next page begins at the server's cursor.
  }
}

/** Return the snapshot of a page with this query string, or null. */
export function loadSnapshot(query) {
  const snapshot = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  return snapshot?.cursor && snapshot.query === query ? snapshot : null;
}
