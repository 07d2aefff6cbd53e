/** The live feed: joins the feed to the log, the measurements and the forms. */

import { Feed, TRANSPORTS } from "../feed/feed.js";
import { Recovery } from "../feed/recovery.js";
import { pollOnce, readLog } from "../feed/transports/polling.js";
import { eventRow, messageRow } from "../log/rows.js";
import { LogView } from "../log/view.js";
import { copy } from "../site/clipboard.js";
import { oncePerFrame } from "../site/schedule.js";
import { showState } from "../site/state.js";
import { readTexts } from "../site/texts.js";
import { connectPublishForm } from "./publishform.js";
import { loadSnapshot, saveSnapshot } from "./snapshot.js";
import { statusText } from "./status.js";
import { codeSample, exampleTopic, parseTopics, publishCommands } from "./topics.js";

const MEASURE_MS = 10_000;

const $ = (selector) => document.querySelector(selector);
const text = readTexts($("#texts"));
const start = JSON.parse($("#start").textContent);
const number = new Intl.NumberFormat(document.documentElement.lang);
const copyTo = (content, button) => copy(content, button, text("copied"));

const log = new LogView($(".log"), { text, number, copy: copyTo });
const recovery = new Recovery();
const scheduleFigures = oncePerFrame(showFigures);
let feed;
let received = 0;
let lastDelay = 0;
// The text of the next recovery's report: recovered (a reconnect) or thawed (a freeze).
let recoveryKey;

// --- the subscription -------------------------------------------------------------------

/** Return the topics and transport of the page's URL; an unknown transport is none. */
function parseLocation() {
  const query = new URLSearchParams(location.search);
  const topics = parseTopics(query.getAll("topic").join(" ")) ?? [start.topic];
  const transport = query.get("transport") ?? "";
  return { topics, transport: Object.hasOwn(TRANSPORTS, transport) ? transport : "" };
}

function subscribe({ topics, transport }, since) {
  feed?.close();
  recovery.cancel();
  feed = new Feed({ topics, transport: transport || null, since });
  feed.addEventListener("state", ({ detail }) => handleState(detail));
  feed.addEventListener("event", ({ detail }) => handleEvent(detail));
  feed.addEventListener("reset", ({ detail }) => handleReset(detail));
  feed.open();
}

function resubscribe(event) {
  event.preventDefault();
  const got = $("#topics").value;
  const topics = parseTopics(got);
  $("#topics-problem").textContent = topics ? "" : text("bad_topics", { got });
  if (!topics) return;
  const transport = $("#transport").value;
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  if (transport) query.set("transport", transport);
  history.replaceState(null, "", `?${query}`);
  subscribe({ topics, transport }, feed.cursor);
  showCode();
}

function fillForms({ topics, transport }) {
  $("#topics").value = topics.join(" ");
  $("#transport").value = transport;
  const form = $("#publish");
  if (form) form.elements.topic.value = exampleTopic(topics[0]);
  else $("#publish-commands").textContent = publishCommands(location.origin, topics[0]);
}

function showCode() {
  const { topics, transport } = parseLocation();
  const language = $("#languages :checked").value;
  $("#code").textContent = codeSample(language, location.origin, topics, transport);
}

// --- what happens to the feed -----------------------------------------------------------

function handleState(detail) {
  const { state, transport, code, reason } = detail;
  showState(state, text(`state_${state}`));
  $("#feed-transport").textContent = feed.isFollower
    ? text("shared", { transport: transport ?? "…" })
    : transport;
  $("#status").textContent = statusText(detail, text);
  if (code) logBye(code, reason);
  if (state === "waiting") recovery.begin(performance.now(), feed.cursor, feed.lost);
  if (state === "open") handleOpen();
  showCursor();
}

async function handleOpen() {
  recovery.end(performance.now());
  if (recovery.interruption) await checkRecovery("recovered");
  else await measure();
}

function handleEvent({ id, topic, sent_at: sentAt, data }) {
  const delay = Date.now() - Date.parse(sentAt);
  const details = { label: "", roundTrip: delay, id, topic };
  log.add(messageRow("received", JSON.stringify(data), details));
  received += 1;
  lastDelay = delay;
  recovery.receive(id);
  scheduleFigures();
}

function handleReset({ reason, asked, last_event_id: to }) {
  recovery.cancel();
  logNote("error", text("row_reset"), text(`reset_${reason}`, { asked, to }));
}

function logBye(code, reason = "") {
  const note = `${code} ${reason}`.trim();
  logNote("close", text("row_bye"), note, { code, reason, clean: true });
}

/** Add a row about the connection. */
function logNote(kind, label, note, details = {}) {
  log.add(eventRow(kind, { label, note, ...details, roundTrip: null }));
}

function showFigures() {
  $("#delay").textContent = `${number.format(lastDelay)} ms`;
  showTotal();
  showCursor();
  reportRecovery();
}

function showTotal() {
  $("#totals").textContent = `← ${number.format(received)}`;
}

function showCursor() {
  $("#cursor").textContent = feed.cursor ?? "–";
}

// --- measuring and recovering -----------------------------------------------------------

/** Show the round trip of a short poll. */
async function measure() {
  const before = performance.now();
  try {
    await pollOnce(feed.base, feed.query());
    const roundTrip = performance.now() - before;
    $("#round-trip").textContent = `${roundTrip.toFixed(1)} ms`;
  } catch {
    $("#round-trip").textContent = "–";
  }
}

/** Read from the log what was missed; the feed itself has to bring it. */
async function checkRecovery(key) {
  recoveryKey = key;
  const query = feed.query(recovery.interruption.cursor);
  try {
    recovery.expect((await readLog(feed.base, query)).map(({ id }) => id));
  } catch {
    return; // checked again when the feed is open again
  }
  reportRecovery();
}

function reportRecovery() {
  const report = recovery.report(feed.lost);
  if (!report) return;
  const key = report.recovered === 1 ? `${recoveryKey}_one` : recoveryKey;
  const note = text(key, { ...report, seconds: report.seconds.toFixed(1) });
  $("#recovery").textContent = note;
  $("#recovery").dataset.kind = report.lost ? "bad" : "good";
  logNote(report.lost ? "error" : "open", text("row_recovered"), note);
}

/** Block this page, as a long computation or a sleeping phone would. */
async function freeze({ target }) {
  recovery.begin(performance.now(), feed.cursor, feed.lost);
  const until = performance.now() + Number(target.dataset.seconds) * 1000;
  while (performance.now() < until);
  recovery.end(performance.now());
  if (feed.state === "open" && recovery.interruption) await checkRecovery("thawed");
}

// --- a reload ---------------------------------------------------------------------------

function save() {
  const { cursor } = feed;
  const { rows } = log.store;
  saveSnapshot({ query: location.search, cursor, received, rows });
}

/** Show what the page had before its reload; return the cursor to go on from. */
function restore() {
  const snapshot = loadSnapshot(location.search);
  if (!snapshot) return start.cursor;
  for (const row of snapshot.rows) log.add(row);
  received = snapshot.received;
  showTotal();
  return snapshot.cursor;
}

$("#subscription").addEventListener("submit", resubscribe);
$("#languages").addEventListener("change", showCode);
$("#copy-code").addEventListener("click", ({ target }) =>
  copyTo($("#code").textContent, target),
);
$("#cut").addEventListener("click", () => feed.cut());
$("#freeze").addEventListener("click", freeze);
addEventListener("pagehide", save);
document.addEventListener("visibilitychange", () => document.hidden && save());
setInterval(() => {
  if (feed.state === "open" && !document.hidden) measure();
}, MEASURE_MS);
if ($("#publish")) connectPublishForm($("#publish"), text);
fillForms(parseLocation());
showCode();
subscribe(parseLocation(), restore());
