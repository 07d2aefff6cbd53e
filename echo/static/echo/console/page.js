/**
 * The echo console: joins the socket to the log, the knobs and the message form.
 *
 * gorilla's example is kept in it: Open, Close, Send, and its lines in #output.
 */

import { eventRow, messageRow } from "../log/rows.js";
import { LogView } from "../log/view.js";
import { copy } from "../site/clipboard.js";
import { oncePerFrame } from "../site/schedule.js";
import { showState } from "../site/state.js";
import { readTexts } from "../site/texts.js";
import { socketAddress } from "./address.js";
import { closeProblem, explanationKey } from "./closing.js";
import { Composer } from "./composer.js";
import { KnobForm } from "./knobform.js";
import { explainRefusal, fetchSettings } from "./refusal.js";
import { RoundTrips } from "./roundtrip.js";
import { EchoSocket } from "./socket.js";

const COUNTDOWN_MS = 100;
// After this time without a response the reason of a refusal stays unknown.
const REASON_TIMEOUT_MS = 3000;

const $ = (selector) => document.querySelector(selector);
const text = readTexts($("#texts"));
const limits = JSON.parse($("#limits").textContent);
const number = new Intl.NumberFormat(document.documentElement.lang);
const kit = {
  text,
  limits,
  number,
  copy: (content, button) => copy(content, button, text("copied")),
};

const log = new LogView($(".log"), kit);
const roundTrips = new RoundTrips();
const totals = {
  sent: { messages: 0, bytes: 0 },
  received: { messages: 0, bytes: 0 },
};
const knobs = new KnobForm($("#knobs"), text, showAddress);
const composer = new Composer($("#message"), kit, send);
const socket = new EchoSocket({
  state: handleState,
  opened: handleOpened,
  received: handleReceived,
  failed: () => log.add(eventRow("error", { message: text("connection_failed") })),
  closed: handleClosed,
});
const scheduleTotals = oncePerFrame(showTotals);
let countdown;

// --- what the visitor does --------------------------------------------------------------

function open() {
  if (!knobs.isValid) return focusField(knobs.protocols);
  socket.open(socketAddress(location, knobs.query), knobs.offered);
}

function close() {
  const problem = checkClosing();
  if (problem) return focusField($("#close-code"));
  socket.close(Number($("#close-code").value.trim()), $("#close-reason").value);
}

/** Focus a field that must be changed first; open the section that it is in. */
function focusField(field) {
  field.closest("details").open = true;
  field.focus();
}

/** Send a message; return false if there is no connection to send it on. */
function send(message) {
  if (!socket.send(message)) return false;
  roundTrips.sent(message, performance.now());
  logMessage("sent", message, null);
  return true;
}

// --- what happens to the connection -----------------------------------------------------

function handleReceived(message) {
  const roundTrip = roundTrips.received(message, performance.now());
  logMessage("received", message, roundTrip);
}

function handleOpened(protocol) {
  roundTrips.reset();
  const note = protocol && text("status_open_protocol", { protocol });
  log.add(eventRow("open", { subprotocol: protocol, note }));
}

async function handleClosed({ code, reason, clean, refused }) {
  composer.stop();
  const time = Date.now();
  const note = describeClose(code, reason, clean);
  if (refused) await logRefusal(time);
  else if (socket.state === "closed") showStatus(note);
  log.add(eventRow("close", { code, reason, clean, note, time }));
}

/** Log why the handshake was refused, as the server explains it. */
async function logRefusal(time) {
  const { address, protocols } = socket.target;
  const response = await fetchSettings(
    address.replace(/^ws/, "http"),
    AbortSignal.timeout(REASON_TIMEOUT_MS),
  );
  const { key, values } = explainRefusal(response, protocols);
  const message = text(key, values);
  if (socket.state === "refused") showStatus(message);
  log.add(eventRow("error", { message, time }));
}

function describeClose(code, reason, clean) {
  const parts = [
    code,
    text(clean ? "clean" : "unclean"),
    reason && text("close_reason", { reason }),
    text(explanationKey(code)),
  ];
  return parts.filter(Boolean).join(" · ");
}

function handleState(state, details) {
  clearInterval(countdown);
  showState(state, text(`state_${state}`));
  $("#cancel").hidden = state !== "waiting";
  // A screen reader would read the countdown ten times a second.
  $("#status").ariaLive = state === "waiting" ? "off" : "polite";
  switch (state) {
    case "closed":
      if (details.cancelled) showStatus(text("status_cancelled"));
      break;
    case "open": {
      const key = details.protocol ? "status_open_protocol" : "status_open";
      showStatus(text(key, details));
      break;
    }
    case "waiting":
      countDown(details);
      break;
    case "connecting":
    case "closing":
    case "refused":
      showStatus(text(`status_${state}`));
      break;
    default:
      throw new TypeError(`expected a state of the connection, got ${state}`);
  }
}

// --- what the page shows ----------------------------------------------------------------

function logMessage(direction, message, roundTrip) {
  const row = messageRow(direction, message, { roundTrip });
  log.add(row);
  totals[direction].messages += 1;
  totals[direction].bytes += row.length;
  scheduleTotals();
}

/** Show how long until the next attempt. */
function countDown({ milliseconds, attempt }) {
  const due = performance.now() + milliseconds;
  const show = () => {
    const left = Math.max(0, due - performance.now());
    const seconds = (left / 1000).toFixed(1);
    showStatus(text("status_waiting", { seconds, attempt }));
  };
  show();
  countdown = setInterval(show, COUNTDOWN_MS);
}

function showStatus(status) {
  $("#status").textContent = status;
}

function showAddress() {
  $("#address").textContent = socketAddress(location, knobs.query);
}

/** Show and return the problem with the close code and reason, or null. */
function checkClosing() {
  const code = $("#close-code").value;
  const reason = $("#close-reason").value;
  const problem = closeProblem(code.trim(), reason, limits.maxCloseReasonBytes);
  $("#close-problem").textContent = problem ? text(problem.key, problem.values) : "";
  const key = $("#reconnect").checked ? "closing_summary_reconnect" : "closing_summary";
  $("#closing-summary").textContent = text(key, { code });
  return problem;
}

function showTotals() {
  for (const [direction, { messages, bytes }] of Object.entries(totals)) {
    $(`#${direction}-total b`).textContent = text("total", {
      messages: number.format(messages),
      bytes: number.format(bytes),
    });
  }
  const { median, measured } = roundTrips;
  $("#round-trip-total").textContent =
    median === null
      ? ""
      : text("round_trip_total", {
          last: measured.at(-1).toFixed(1),
          median: median.toFixed(1),
        });
}

$("#open").addEventListener("click", open);
$("#close").addEventListener("click", close);
$("#cancel").addEventListener("click", () => {
  socket.cancel();
  $("#open").focus();
});
$("#copy-address").addEventListener("click", ({ target }) =>
  kit.copy($("#address").textContent, target),
);
$("#reconnect").addEventListener("change", ({ target }) => {
  socket.reconnects = target.checked;
  if (!target.checked) socket.cancel();
  checkClosing();
});
$("#close-code").addEventListener("input", checkClosing);
$("#close-reason").addEventListener("input", checkClosing);
socket.reconnects = $("#reconnect").checked;
showAddress();
checkClosing();
showTotals();
showStatus(text("status_start"));
