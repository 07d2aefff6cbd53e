/** The nodes page: feeds the graph from the feed, and keeps the table as the nodes tell. */

import { Feed } from "../feed.js";
import { showState } from "../state.js";
import { readTexts } from "../texts.js";
import { Graph } from "./charts.js";
import { WINDOW_SECONDS } from "./graph.js";
import { exchange, keepFresh } from "./refresh.js";

// Figures come once a second; after a silence like this there are no current ones.
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
let isLeft = true;

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

/** Comes back to what the page itself has left, never to what the server has ended. */
function watchOrLeave() {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(leave, WINDOW_SECONDS * 1000);
  else if (isLeft) watch();
}

function watch() {
  isLeft = false;
  feed.open();
}

/** Nobody watches a page that has been hidden for as long as the graph is wide. */
function leave() {
  if (feed.isOver) return;
  isLeft = true;
  feed.close();
}

// --- the table --------------------------------------------------------------------------

let refreshedAt = start.now * 1000;

function tell(state, values) {
  if (state === "fresh") refreshedAt = Date.now();
  if (performance.now() - heardAt > PATIENCE_MS) graph.showNow();
  const time = clock.format(refreshedAt);
  const told = state === "fresh" ? "" : text(state, { ...values, time });
  $("#table-problem").textContent = told;
}

document.addEventListener("visibilitychange", watchOrLeave);
watchOrLeave();
keepFresh({
  address: () => location.href,
  take: (fragment) => exchange($("#nodes"), fragment.querySelector("#nodes")),
  tell,
  isPaused: () => false,
});
