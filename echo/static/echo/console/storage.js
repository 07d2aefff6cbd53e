/** Keeps JSON in localStorage; a browser that refuses storage only forgets. */

/** The stored value, or `fallback` when there is none, or none that can be read. */
export function load(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? fallback;
  } catch {
    return fallback;
  }
}

export function save(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Full, or refused by the browser's settings: nothing on the page depends on it.
  }
}
