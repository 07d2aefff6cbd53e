/** The nodes page: draws the graph from the feed, and refreshes the table. */

import { Feed } from "../feed/feed.js";
import { showState } from "../site/state.js";
import { readTexts } from "../site/texts.js";
import { Graph } from "./charts.js";
import { morph } from "./morph.js";
import { keepFresh } from "./refresh.js";
import { WINDOW_SECONDS } from "./timeline.js";

// Figures arrive once a second; after this time without any the last ones are out of date.
const SILENCE_MS = 5000;

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
let receivedAt = performance.now();
let hiddenTimer;
// True if the page has closed the feed, rather than the server.
let isClosedByPage = true;

feed.addEventListener("event", ({ detail }) => {
  receivedAt = performance.now();
  graph.add(detail);
});
feed.addEventListener("state", ({ detail }) => {
  const { state, milliseconds = 0 } = detail;
  showState(state, text(`state_${state}`));
  const seconds = (milliseconds / 1000).toFixed(1);
  const problem =
    state === "open" ? "" : text(`status_${state}`, { ...detail, seconds });
  $("#feed-problem").textContent = problem;
});

/** Read the feed while the page is visible; never open what the server has ended. */
function handleVisibility() {
  clearTimeout(hiddenTimer);
  if (document.hidden) hiddenTimer = setTimeout(closeFeed, WINDOW_SECONDS * 1000);
  else if (isClosedByPage) openFeed();
}

function openFeed() {
  isClosedByPage = false;
  feed.open();
}

/** After being hidden for the width of the graph, nothing that it shows is left. */
function closeFeed() {
  if (feed.isEnded) return;
  isClosedByPage = true;
  feed.close();
}

// --- the table --------------------------------------------------------------------------

let refreshedAt = start.now * 1000;

function report(state, values) {
  if (state === "fresh") refreshedAt = Date.now();
  if (performance.now() - receivedAt > SILENCE_MS) graph.showNow();
  const time = clock.format(refreshedAt);
  const problem = state === "fresh" ? "" : text(state, { ...values, time });
  $("#table-problem").textContent = problem;
}

document.addEventListener("visibilitychange", handleVisibility);
handleVisibility();
keepFresh({
  address: () => location.href,
  apply: (fragment) => morph($("#nodes"), fragment.querySelector("#nodes")),
  report,
  isPaused: () => false,
});
