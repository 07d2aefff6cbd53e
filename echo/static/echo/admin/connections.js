/** Live connections: refreshes the list, and keeps the selection. */

import { readTexts } from "../site/texts.js";
import { morph } from "./morph.js";
import { keepFresh } from "./refresh.js";
import { Selection } from "./selection.js";

const $ = (selector) => document.querySelector(selector);
const results = $("#results");
const text = readTexts($("#texts"));
const language = document.documentElement.lang;
const number = new Intl.NumberFormat(language);
const clock = new Intl.DateTimeFormat(language, {
  timeStyle: "medium",
  hourCycle: "h23",
  timeZone: $("#texts").dataset.timeZone, // as the server writes its times
});
const selection = new Selection();
let refreshedAt = new Date();
// The URL of the list from the first selected row on; empty while none is selected.
let anchor = "";
let isPaused = false;

// --- the selection --------------------------------------------------------------------

const boxes = () => [...results.querySelectorAll(".action-select")];

function showSelection() {
  if (!$("#counter")) return; // without permission for an action nothing is selected
  for (const box of boxes()) box.checked = selection.has(box.value);
  const toggle = $("#action-toggle");
  if (toggle) toggle.checked = selection.isEveryListed;
  $("#select-across").value = selection.isAll ? "1" : "0";
  $("#clear").hidden = !selection.isAll;
  showCounts(Number(results.dataset.total));
}

/** `matching` is the number of all matching rows, also on other pages of the list. */
function showCounts(matching) {
  const total = number.format(matching);
  const count = number.format(selection.count);
  const shown = number.format(selection.listed.length);
  const gone = number.format(selection.gone);
  const hasRows = selection.listed.length > 0;
  const canSelectAll = selection.isEveryListed && matching > selection.listed.length;
  show("#counter", text("selected", { count, shown }), hasRows && !selection.isAll);
  show("#all-selected", text("all_selected", { total }), selection.isAll);
  show("#question a", text("select_all", { total }), canSelectAll && !selection.isAll);
  show("#gone", text("gone", { count: gone }), selection.gone > 0);
}

/** Show the text in an element, or hide the element. */
function show(selector, content, isShown) {
  const element = $(selector);
  if (element.textContent !== content) element.textContent = content;
  element.hidden = !isShown;
}

function handleChange({ target }) {
  if (target.id === "action-toggle") selection.chooseListed(target.checked);
  else if (target.matches(".action-select"))
    selection.choose(target.value, target.checked);
  else return;
  updateAnchor();
  showSelection();
}

/** Keep newer connections from pushing selected rows off the page of the list. */
function updateAnchor() {
  if (!selection.isHeld) anchor = "";
  else anchor ||= results.dataset.anchor;
}

function selectOnClick(selector, select) {
  $(selector)?.addEventListener("click", (event) => {
    event.preventDefault();
    select();
    updateAnchor();
    showSelection();
  });
}

// --- refreshing -----------------------------------------------------------------------

function apply(fragment) {
  for (const fresh of [...fragment.children]) morph($(`#${fresh.id}`), fresh);
  selection.list(boxes().map((box) => box.value));
  updateAnchor();
  showSelection();
}

function report(state, values) {
  if (state === "fresh") refreshedAt = new Date();
  const time = clock.format(refreshedAt);
  const isFine = state === "fresh" || state === "paused";
  $("#refresh").dataset.state = state;
  show("#refreshed", text(state === "paused" ? "paused" : "refreshed", { time }), true);
  show("#refresh-problem", isFine ? "" : text(state, { ...values, time }), !isFine);
}

function togglePause() {
  isPaused = !isPaused;
  $("#pause").setAttribute("aria-pressed", isPaused);
  $("#pause").textContent = text(isPaused ? "resume" : "pause");
  if (isPaused) report("paused");
  else refresh();
}

const refresh = keepFresh({
  address: () => anchor || location.href,
  apply,
  report,
  isPaused: () => isPaused,
});
results.addEventListener("change", handleChange);
selectOnClick("#question a", () => selection.chooseAll());
selectOnClick("#clear a", () => selection.clear());
$("#pause").addEventListener("click", togglePause);
$("#refresh").hidden = false;
selection.list(boxes().map((box) => box.value));
// Rows may have been selected before this module was loaded.
for (const box of boxes()) if (box.checked) selection.choose(box.value, true);
updateAnchor();
showSelection();
report("fresh");
