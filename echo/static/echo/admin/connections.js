/** Live connections: refreshes the list by itself, and keeps what is selected. */

import { readTexts } from "../texts.js";
import { exchange, keepFresh } from "./refresh.js";
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
let anchor = "";
let isPaused = false;

// --- the selection --------------------------------------------------------------------

const boxes = () => [...results.querySelectorAll(".action-select")];

function showSelection() {
  if (!$("#counter")) return; // who may do nothing selects nothing
  for (const box of boxes()) box.checked = selection.has(box.value);
  const toggle = $("#action-toggle");
  if (toggle) toggle.checked = selection.isWholePage;
  const total = Number(results.dataset.total);
  const isMore = total > selection.listed.length;
  const count = number.format(selection.count);
  const shown = number.format(selection.listed.length);
  $("#select-across").value = selection.isAll ? "1" : "0";
  const isSome = !selection.isAll && selection.listed.length > 0;
  show("#counter", text("selected", { count, shown }), isSome);
  show(
    "#all-selected",
    text("all_selected", { total: number.format(total) }),
    selection.isAll,
  );
  show(
    "#question a",
    text("select_all", { total: number.format(total) }),
    selection.isWholePage && isMore && !selection.isAll,
  );
  $("#clear").hidden = !selection.isAll;
  const gone = number.format(selection.gone);
  show("#gone", text("gone", { count: gone }), selection.gone > 0);
}

/** The element's text, while it is to be seen. */
function show(selector, words, isShown) {
  const element = $(selector);
  if (element.textContent !== words) element.textContent = words;
  element.hidden = !isShown;
}

function choose({ target }) {
  if (target.id === "action-toggle") selection.choosePage(target.checked);
  else if (target.matches(".action-select"))
    selection.choose(target.value, target.checked);
  else return;
  hold();
  showSelection();
}

/** While something is selected, newer connections do not push its rows off the page. */
function hold() {
  if (!selection.isHeld) anchor = "";
  else anchor ||= results.dataset.anchor;
}

function chooseBy(selector, change) {
  $(selector)?.addEventListener("click", (event) => {
    event.preventDefault();
    change();
    hold();
    showSelection();
  });
}

// --- the refreshing -------------------------------------------------------------------

function take(fragment) {
  for (const fresh of [...fragment.children]) exchange($(`#${fresh.id}`), fresh);
  selection.list(boxes().map((box) => box.value));
  hold();
  showSelection();
}

function tell(state, values) {
  if (state === "fresh") refreshedAt = new Date();
  const time = clock.format(refreshedAt);
  const isFresh = state === "fresh" || state === "paused";
  $("#refresh").dataset.state = state;
  show("#refreshed", text(state === "paused" ? "paused" : "refreshed", { time }), true);
  show("#trouble", isFresh ? "" : text(state, { ...values, time }), !isFresh);
}

function pause() {
  isPaused = !isPaused;
  $("#pause").setAttribute("aria-pressed", isPaused);
  $("#pause").textContent = text(isPaused ? "resume" : "pause");
  if (isPaused) tell("paused");
  else refresh();
}

const refresh = keepFresh({
  address: () => anchor || location.href,
  take,
  tell,
  isPaused: () => isPaused,
});
results.addEventListener("change", choose);
chooseBy("#question a", () => selection.chooseAll());
chooseBy("#clear a", () => selection.clear());
$("#pause").addEventListener("click", pause);
$("#refresh").hidden = false;
selection.list(boxes().map((box) => box.value));
showSelection();
tell("fresh");
