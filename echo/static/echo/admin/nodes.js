/** The nodes page: feeds the graph from the feed, and keeps the table as the nodes tell. */

import { Feed } from "../feed.js";
import { showState } from "../state.js";
import { readTexts } from "../texts.js";
import { Graph } from "./charts.js";
import { WINDOW_SECONDS } from "./graph.js";

const REFRESH_MS = 2000;
const PATIENCE_MS = 5000;

const $ = (selector) => document.querySelector(selector);
const text = readTexts($("#texts"));
const start = JSON.parse($("#start").textContent);
const clock = new Intl.DateTimeFormat(document.documentElement.lang, {
  timeStyle: "medium",
  hourCycle: "h23",
  timeZone: start.time_zone,
});

// --- the graph --------------------------------------------------------------------------

const graph = new Graph($("#graph"), { now: start.now, timeZone: start.time_zone });
const feed = new Feed({ topics: [start.topic], since: start.since });
let heardAt = performance.now();
let leaving;

feed.addEventListener("event", ({ detail }) => {
  heardAt = performance.now();
  graph.take(detail);
});
feed.addEventListener("state", ({ detail }) => {
  const { state, milliseconds = 0, code, detail: reason } = detail;
  showState(state, text(`state_${state}`));
  const seconds = (milliseconds / 1000).toFixed(1);
  const told =
    state === "open" ? "" : text(`live_${state}`, { seconds, code, detail: reason });
  $("#feed-problem").textContent = told;
});

/** Nobody watches a page that has been hidden for as long as the graph is wide. */
function watchOrLeave() {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(() => feed.close(), WINDOW_SECONDS * 1000);
  else feed.open();
}

// --- the table --------------------------------------------------------------------------

let timer;

async function refresh() {
  clearTimeout(timer);
  if (document.hidden) return;
  if (performance.now() - heardAt > PATIENCE_MS) graph.showNow();
  $("#table-problem").textContent = await problem();
  timer = setTimeout(refresh, REFRESH_MS);
}

/** Asks for the table as it is now; what went wrong, in words, or nothing. */
async function problem() {
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch(start.table, { redirect: "manual", signal });
    if (answer.type === "opaqueredirect") return text("signed_out");
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = document.createElement("template");
    fresh.innerHTML = await answer.text(); // the server's own template, escaped there
    exchange($("#nodes"), fresh.content);
    exchange.at = Date.now();
    return "";
  } catch {
    return text("stale", { time: clock.format(exchange.at) });
  }
}
exchange.at = start.now * 1000;

/** Changes only the cells that differ, so that focus and selection stay. */
function exchange(shown, fresh) {
  const rows = new Map([...shown.querySelectorAll("[data-node]")].map(entry));
  const body = shown.querySelector("tbody");
  for (const [name, row] of [...fresh.querySelectorAll("[data-node]")].map(entry)) {
    if (!rows.has(name)) body.append(row);
    else exchangeCells(rows.get(name), row);
    rows.delete(name);
  }
  for (const row of rows.values()) row.remove();
  shown
    .querySelector(".note")
    .replaceChildren(...fresh.querySelector(".note").childNodes);
}

function entry(row) {
  return [row.dataset.node, row];
}

function exchangeCells(row, fresh) {
  [...fresh.cells].forEach((cell, i) => {
    if (!cell.isEqualNode(row.cells[i])) row.cells[i].replaceWith(cell);
  });
}

document.addEventListener("visibilitychange", () => {
  watchOrLeave();
  refresh();
});
watchOrLeave();
timer = setTimeout(refresh, REFRESH_MS);
