/** Keeps JSON in localStorage, where the browser allows it. */

/** Return the stored value, or `fallback` if there is none that can be read. */
export function load(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? fallback;
  } catch {
    return fallback;
  }
}

/** Store the value; no-op if storage is full or refused. */
export function save(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Nothing on the page depends on it.
  }
}
