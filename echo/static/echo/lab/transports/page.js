/** The page Transports: joins the settings, the race, the plots and the table. */

import { copy } from "../../site/clipboard.js";
import { oncePerFrame } from "../../site/schedule.js";
import { readTexts } from "../../site/texts.js";
import { loadSettings, saveSettings } from "../settings.js";
import { figuresOf, missing } from "./figures.js";
import { LANES } from "./lanes.js";
import { Plot } from "./plot.js";
import { Race } from "./race.js";
import { shellCommand } from "./shell.js";

// What the plots show before the first event, and after the last was due.
const LEAD_MS = 100;
const MARGIN_MS = 1500;
const CUT_MS = 3000;
const SPARSE_RATE = 0.1;
const TICK_MS = 250;

// From this page's own.
const addresses = Object.fromEntries(
  Object.entries({
    reserve: "races",
    start: "races/start",
    clock: "clock",
    head: "head",
    stock: "stock",
    slow_stock: "slow/stock",
    feed: "../feed/",
    slow: "slow/feed/",
  }).map(([name, path]) => [name, new URL(path, location.href).href]),
);

const $ = (selector) => document.querySelector(selector);
const text = readTexts($("#texts"));
const limits = JSON.parse($("#limits").textContent);
const language = document.documentElement.lang;
const number = new Intl.NumberFormat(language);
const short = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

const section = $("#race");
const form = $("#settings");
const plots = new Map(
  LANES.map((name) => [name, new Plot($(`[data-lane=${name}] svg`))]),
);
const scheduleShow = oncePerFrame(show);
let race = null;
let ticking;

// --- settings -----------------------------------------------------------------------------

/** Return the settings as the server takes them; an empty field is its default. */
function settings() {
  const { events, rate, size, scenario } = form.elements;
  const value = (field) => Number(field.value || field.defaultValue);
  return {
    events: value(events),
    rate: value(rate),
    size: value(size),
    scenario: scenario.value,
  };
}

/** Show what the chosen network means for the other settings. */
function applyScenario() {
  const { events, rate, scenario } = form.elements;
  const isSparse = scenario.value === "sparse";
  events.max = isSparse ? limits.max_sparse_events : limits.max_events;
  if (isSparse && Number(events.value) > events.max) events.value = events.max;
  rate.disabled = isSparse || scenario.value === "burst";
  $("#scenario-about").textContent = text(`about_${scenario.value}`);
}

function showCommand() {
  const { browser } = race ?? {};
  const command = shellCommand(location.origin, settings(), limits, browser);
  $("#command").textContent = command;
}

function change() {
  applyScenario();
  saveSettings(form);
  showCommand();
}

// --- one race -----------------------------------------------------------------------------

async function run() {
  race = new Race(addresses, settings());
  race.addEventListener("change", scheduleShow);
  race.addEventListener("phase", ({ detail }) => enter(detail));
  ticking = setInterval(scheduleShow, TICK_MS);
  clearResult();
  try {
    await race.run();
    showResult();
  } catch (error) {
    fail(error);
  } finally {
    clearInterval(ticking);
    show();
    showCommand();
  }
}

function enter(phase) {
  section.dataset.state = phase;
  $("#run").hidden = phase !== "over";
  $("#stop").hidden = phase === "over";
  $("#fields").disabled = phase !== "over";
  if (phase !== "over") $("#status").textContent = text(`phase_${phase}`);
}

function fail(error) {
  enter("over");
  if (error.name === "AbortError") $("#status").textContent = text("stopped");
  else {
    section.dataset.state = "failed";
    $("#status").textContent = "";
    $("#problem").textContent = problemText(error);
  }
}

/** Return the server's reason, or what a browser's own error means here. */
function problemText(error) {
  if (error.status) return error.message;
  if (error.name === "TimeoutError") return text("timeout");
  return text("unreachable");
}

// --- what the page shows ------------------------------------------------------------------

function show() {
  if (!race?.beganAt) return;
  const due = dueEvents();
  for (const lane of race.lanes) {
    showFigures(lane, due);
    showPlot(lane);
  }
  showClock();
}

/** Return how many events each lane should have had by now. */
function dueEvents() {
  const sent = race.lanes.map(({ arrivals }) => Math.max(-1, ...arrivals.keys()) + 1);
  return race.isOver ? race.settings.events : Math.max(...sent);
}

function showFigures(lane, due) {
  const figures = figuresOf(lane, race.settings.events);
  // Until the end, what has not come yet may still come.
  const lost = race.isOver ? figures.lost : null;
  const missingNow = Math.max(0, due - figures.events);
  const milliseconds = (value) => (value === null ? "–" : short.format(value));
  const cells = {
    events: number.format(figures.events),
    lost: lost === null ? "–" : number.format(lost),
    p50: milliseconds(figures.p50),
    p95: milliseconds(figures.p95),
    requests: number.format(figures.requests),
    sent: number.format(figures.sent),
    received: number.format(figures.received),
    each: figures.perEvent === null ? "–" : number.format(Math.round(figures.perEvent)),
    told: number.format(lane.meter.sent.told),
    up: number.format(lane.meter.sent.computed),
    measured: number.format(lane.meter.received.measured),
    down: number.format(lane.meter.received.computed),
  };
  for (const [name, value] of Object.entries(cells)) {
    for (const cell of document.querySelectorAll(
      `[data-lane=${lane.name}] [data-figure=${name}]`,
    ))
      cell.textContent = value;
  }
  const article = $(`article[data-lane=${lane.name}]`);
  article.dataset.lost = String(Boolean(lost));
  article.querySelector(".note").textContent = note(lane, figures, missingNow);
}

/** Return what is to be said of a lane: while it races, and after it. */
function note({ name }, { perEvent }, missingNow) {
  if (!race.isOver) return missingNow ? text("behind", { count: missingNow }) : "";
  const notes = [];
  if (race.cutTimes) notes.push(text(name === "stock" ? "not_resumed" : "resumed"));
  if (perEvent !== null) {
    const each = number.format(Math.round(perEvent));
    notes.push(text("share", { each, size: number.format(race.settings.size) }));
  }
  return notes.join(" ");
}

function showPlot({ name, arrivals }) {
  const { cutTimes: cut, isOver, settings } = race;
  const from = race.beganAt - LEAD_MS;
  const length = settings.seconds * 1000 + (cut ? CUT_MS : 0) + MARGIN_MS;
  const latest = Math.max(from, ...[...arrivals.values()].map((one) => one.arrived));
  const lost = isOver
    ? missing(arrivals, settings.events).map((index) => sentAt(index))
    : [];
  const to = Math.max(from + length, latest);
  plots.get(name).draw({ from, to, arrivals, lost, cut });
}

/** Return when an event was sent: as another lane has it, or as it was due. */
function sentAt(index) {
  for (const { arrivals } of race.lanes) {
    if (arrivals.has(index)) return arrivals.get(index).sent;
  }
  const { scenario, rate } = race.settings;
  if (scenario === "burst") return race.beganAt;
  return race.beganAt + (index * 1000) / (scenario === "sparse" ? SPARSE_RATE : rate);
}

function showClock() {
  const { offset, uncertainty } = race.clock;
  $("#clock").textContent = text("clock", {
    offset: short.format(offset),
    uncertainty: short.format(uncertainty),
  });
}

function clearResult() {
  $("#problem").textContent = $("#clock").textContent = "";
  for (const cell of document.querySelectorAll("[data-figure]")) cell.textContent = "–";
  for (const article of document.querySelectorAll("article[data-lane]")) {
    article.dataset.lost = "false";
    article.querySelector(".note").textContent = "";
  }
  const empty = { from: 0, to: 1, arrivals: new Map(), lost: [], cut: null };
  for (const plot of plots.values()) plot.draw(empty);
}

/** Show who has lost what. */
function showResult() {
  const { events } = race.settings;
  const lost = ({ arrivals }) => events - arrivals.size;
  const stock = race.lanes.find(({ name }) => name === "stock");
  const feed = race.lanes
    .filter((lane) => lane !== stock)
    .reduce((sum, lane) => sum + lost(lane), 0);
  const key = lost(stock) || feed ? "result_lost" : "result_none";
  $("#status").textContent = text(key, {
    events: number.format(events),
    feed: number.format(feed),
    stock: number.format(lost(stock)),
  });
  const isHttp1 = !race.protocol || race.protocol === "http/1.1";
  $("#protocol").textContent = isHttp1
    ? ""
    : text("protocol", { protocol: race.protocol });
}

// --- start --------------------------------------------------------------------------------

form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
form.addEventListener("input", change);
$("#stop").addEventListener("click", () => race.stop());
$("#copy-command").addEventListener("click", ({ target }) =>
  copy($("#command").textContent, target, text("copied")),
);
// A page that comes back from the browser's cache has no race that goes on.
addEventListener("pagehide", () => race?.stop());
loadSettings(form);
applyScenario();
saveSettings(form);
showCommand();
section.dataset.state = "ready";
