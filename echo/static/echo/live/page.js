/** The live feed: joins the feed to the log, the measurements and the forms. */

import { copy } from "../console/clipboard.js";
import { LogView } from "../console/logview.js";
import { Feed, TRANSPORTS } from "../feed.js";
import { showState } from "../state.js";
import { readTexts } from "../texts.js";
import { ask } from "../transports/polling.js";
import { accountOf } from "./account.js";
import { usePublishForm } from "./publisher.js";
import { Recovery } from "./recovery.js";
import { code, example, howToPublish, parseTopics } from "./subscription.js";

const MEASURE_MS = 10_000;
// What a reload brings back; browsers keep about 5 MiB for a tab.
const KEPT_ROWS = 500;
const KEPT_CHARACTERS = 1024 * 1024;
const KEY = "live";

const $ = (selector) => document.querySelector(selector);
const text = readTexts($("#texts"));
const start = JSON.parse($("#start").textContent);
const number = new Intl.NumberFormat(document.documentElement.lang);
const copyTo = (content, button) => copy(content, button, text("copied"));
const encoder = new TextEncoder();

/** The console's log, whose column for the type tells the topic. */
class EventLog extends LogView {
  element(row) {
    const element = super.element(row);
    if (row.topic) {
      element.querySelector(".type").textContent = row.topic;
      element.dataset.id = row.id;
    }
    return element;
  }
}

const log = new EventLog($(".log"), { text, number, copy: copyTo });
const recovery = new Recovery();
let feed;
let received = 0;

// --- the subscription -------------------------------------------------------------------

function wanted() {
  const query = new URLSearchParams(location.search);
  const topics = parseTopics(query.getAll("topic").join(" ")) ?? [start.topic];
  const transport = query.get("transport") ?? "";
  return { topics, transport: Object.hasOwn(TRANSPORTS, transport) ? transport : "" };
}

function subscribe({ topics, transport }, since) {
  feed?.close();
  recovery.begun = null;
  feed = new Feed({ topics, transport: transport || null, since });
  feed.addEventListener("state", ({ detail }) => stateChanged(detail));
  feed.addEventListener("event", ({ detail }) => eventCame(detail));
  feed.addEventListener("reset", ({ detail }) => resetCame(detail));
  feed.open();
}

function resubscribe(event) {
  event.preventDefault();
  const topics = parseTopics($("#topics").value);
  const got = $("#topics").value;
  $("#topics-problem").textContent = topics ? "" : text("bad_topics", { got });
  if (!topics) return;
  const transport = $("#transport").value;
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  if (transport) query.set("transport", transport);
  history.replaceState(null, "", `?${query}`);
  subscribe({ topics, transport }, feed.cursor);
  showCode();
}

function showForm({ topics, transport }) {
  $("#topics").value = topics.join(" ");
  $("#transport").value = transport;
  const form = $("#publish");
  if (form) form.elements.topic.value = example(topics[0]);
  else $("#how-to-publish").textContent = howToPublish(location.origin, topics[0]);
}

function showCode() {
  const { topics, transport } = wanted();
  const language = $("#languages :checked").value;
  $("#code").textContent = code(language, location.origin, topics, transport);
}

// --- what the feed tells ----------------------------------------------------------------

function stateChanged(told) {
  const { state, transport, milliseconds, code, reason, detail } = told;
  showState(state, text(`state_${state}`));
  $("#via").textContent = feed.isFollower
    ? text("shared", { transport: transport ?? "…" })
    : transport;
  const seconds = ((milliseconds ?? 0) / 1000).toFixed(1);
  const facts = { seconds, code, reason, detail };
  $("#account").textContent = text(accountOf(told), facts);
  if (code) byeCame(code, reason);
  if (state === "waiting") recovery.begin(performance.now(), feed.cursor, feed.lost);
  if (state === "open") opened();
  showCursor();
}

async function opened() {
  recovery.end(performance.now());
  if (recovery.begun) await recover("recovered");
  else await measure();
}

function eventCame(frame) {
  const message = JSON.stringify(frame.data);
  const time = Date.now();
  received += 1;
  recovery.saw(frame.id);
  const roundTrip = time - Date.parse(frame.sent_at);
  log.add({
    direction: "received",
    kind: "text",
    label: "",
    time,
    message,
    length: encoder.encode(message).length,
    roundTrip,
    id: frame.id,
    topic: frame.topic,
  });
  showSoon.delay = roundTrip;
  showSoon();
}

function resetCame({ reason, asked, last_event_id: to }) {
  recovery.begun = null;
  note("error", text("row_reset"), text(`reset_${reason}`, { asked, to }));
}

function byeCame(code, reason) {
  const words = `${code} ${reason ?? ""}`.trim();
  note("close", text("row_bye"), words, { code, reason: reason ?? "", clean: true });
}

/** A row that tells of the connection. */
function note(kind, label, words, facts = {}) {
  const row = { direction: "event", kind, label, note: words, message: "", length: 0 };
  log.add({ ...row, ...facts, time: Date.now(), roundTrip: null });
}

function showSoon() {
  showSoon.frame ??= requestAnimationFrame(() => {
    showSoon.frame = null;
    $("#delay").textContent = `${number.format(showSoon.delay)} ms`;
    $("#totals").textContent = `← ${number.format(received)}`;
    showCursor();
    reportRecovery();
  });
}

function showCursor() {
  $("#cursor").textContent = feed.cursor ?? "–";
}

// --- measuring and recovering -----------------------------------------------------------

async function measure() {
  const before = performance.now();
  try {
    await ask(feed.base, feed.query());
    const roundTrip = performance.now() - before;
    $("#round-trip").textContent = `${roundTrip.toFixed(1)} ms`;
  } catch {
    $("#round-trip").textContent = "–";
  }
}

/** Asks the log what was missed; the feed itself has to bring it. */
async function recover(how) {
  recover.how = how;
  const ids = [];
  let since = recovery.begun.cursor;
  try {
    for (let more = true; more; ) {
      const answer = await ask(feed.base, feed.query(since));
      ids.push(...answer.events.map((event) => event.id));
      since = answer.last_event_id;
      more = answer.more;
    }
  } catch {
    return; // it will be asked again when the feed has come back
  }
  recovery.expect(ids);
  reportRecovery();
}

function reportRecovery() {
  const report = recovery.report(feed.lost);
  if (!report) return;
  const how = report.recovered === 1 ? `${recover.how}_one` : recover.how;
  const words = text(how, { ...report, seconds: report.seconds.toFixed(1) });
  $("#recovery").textContent = words;
  $("#recovery").dataset.kind = report.lost ? "bad" : "good";
  note(report.lost ? "error" : "open", text("row_recovered"), words);
}

/** Blocks this page, as a long computation or a sleeping phone would. */
async function freeze({ target }) {
  recovery.begin(performance.now(), feed.cursor, feed.lost);
  const until = performance.now() + Number(target.dataset.seconds) * 1000;
  while (performance.now() < until);
  recovery.end(performance.now());
  if (feed.state === "open" && recovery.begun) await recover("thawed");
}

// --- a reload ---------------------------------------------------------------------------

/** The rows and the cursor together, so that neither can be ahead of the other. */
function keep() {
  const rows = [];
  let size = 0;
  for (const row of log.store.rows.slice(-KEPT_ROWS).reverse()) {
    size += row.message.length + 200;
    if (size > KEPT_CHARACTERS) break;
    rows.unshift(row);
  }
  const state = { query: location.search, cursor: feed.cursor, received, rows };
  try {
    sessionStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    // Full or refused: the next page begins where the server says.
  }
}

/** Shows what the page had before its reload; the cursor to go on from. */
function restore() {
  const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  if (!kept?.cursor || kept.query !== location.search) return start.cursor;
  for (const row of kept.rows) log.add(row);
  received = kept.received;
  $("#totals").textContent = `← ${number.format(received)}`;
  return kept.cursor;
}

$("#subscription").addEventListener("submit", resubscribe);
$("#languages").addEventListener("change", showCode);
$("#copy-code").addEventListener("click", ({ target }) =>
  copyTo($("#code").textContent, target),
);
$("#cut").addEventListener("click", () => feed.cut());
$("#freeze").addEventListener("click", freeze);
addEventListener("pagehide", keep);
document.addEventListener("visibilitychange", () => document.hidden && keep());
setInterval(() => {
  if (feed.state === "open" && !document.hidden) measure();
}, MEASURE_MS);
if ($("#publish")) usePublishForm($("#publish"), text);
showForm(wanted());
showCode();
subscribe(wanted(), restore());
