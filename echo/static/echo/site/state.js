/**
 * Shows the state of a page's connection: one attribute on `<main>`, from which CSS
 * draws colour and shape on every page alike, and one word in the header.
 */

/** Show the state; `word` is its translated name. */
export function showState(state, word) {
  document.querySelector("main").dataset.state = state;
  document.querySelector("#state-word").textContent = word;
}
