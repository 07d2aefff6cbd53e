/**
 * Shows what state a page's connection is in: one attribute on `<main>`, one word in
 * the site's header. CSS draws colour and shape from the attribute, on every page
 * alike.
 */

/** Sets the state; `word` is its translated name. */
export function showState(state, word) {
  document.querySelector("main").dataset.state = state;
  document.querySelector("#state-word").textContent = word;
}
