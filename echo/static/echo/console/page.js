/**
 * The echo console: joins the connection to the log, the knobs and the message form.
 *
 * gorilla's page is still in here: Open, Close, Send, and its lines in #output.
 */

import { showState } from "../state.js";
import { readTexts } from "../texts.js";
import { socketAddress } from "./address.js";
import { copy } from "./clipboard.js";
import { closeProblem, explanation } from "./closing.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { KnobForm } from "./knobform.js";
import { LogView } from "./logview.js";
import { byteLength } from "./payload.js";
import { ask, refusal } from "./refusal.js";
import { RoundTrips } from "./roundtrip.js";

const COUNTDOWN_MS = 100;
// A server that does not say why within this time is not waited for.
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
const totals = { sent: [0, 0], received: [0, 0] };
const knobs = new KnobForm($("#knobs"), text, showAddress);
const composer = new Composer($("#message"), kit, send);
const connection = new Connection({
  state: stateChanged,
  opened,
  received,
  failed: () => logEvent("error", { message: text("connection_failed") }),
  closed,
});

function open() {
  if (!knobs.isAcceptable) return lead(knobs.protocols);
  connection.open(socketAddress(location, knobs.query), knobs.offered);
}

function close() {
  const code = $("#close-code").value.trim();
  const reason = $("#close-reason").value;
  const problem = closeProblem(code, reason, limits.maxCloseReasonBytes);
  showCloseProblem(problem);
  if (problem) return lead($("#close-code"));
  connection.close(Number(code), reason);
}

/** Leads to a field that has to be changed first, out of a closed section too. */
function lead(field) {
  field.closest("details").open = true;
  field.focus();
}

/** Sends a message; false when there is no connection to send it on. */
function send(message) {
  if (!connection.send(message)) return false;
  roundTrips.sent(message, performance.now());
  logMessage("sent", message, null);
  return true;
}

function received(message) {
  const roundTrip = roundTrips.received(message, performance.now());
  logMessage("received", message, roundTrip);
}

function opened(subprotocol) {
  roundTrips.reset();
  logEvent("open", {
    subprotocol,
    note: subprotocol && text("account_open_protocol", { protocol: subprotocol }),
  });
}

async function closed({ code, reason, clean, refused }) {
  composer.stop();
  const time = Date.now();
  const note = describeClose(code, reason, clean);
  if (refused) await refusedBy(time);
  else if (connection.state === "closed") account(note);
  logEvent("close", { code, reason, clean, note, time });
}

/** Logs why the handshake was refused, as the server tells it. */
async function refusedBy(time) {
  const { address, protocols } = connection.target;
  const answer = await ask(
    address.replace(/^ws/, "http"),
    AbortSignal.timeout(REASON_TIMEOUT_MS),
  );
  const { key, values } = refusal(answer, protocols);
  const message = text(key, values);
  if (connection.state === "refused") account(message);
  logEvent("error", { message, time });
}

function describeClose(code, reason, clean) {
  const parts = [
    code,
    text(clean ? "clean" : "unclean"),
    reason && text("close_reason", { reason }),
    text(explanation(code)),
  ];
  return parts.filter(Boolean).join(" · ");
}

function logMessage(direction, message, roundTrip) {
  const kind = typeof message === "string" ? "text" : "binary";
  const length = byteLength(message);
  totals[direction][0] += 1;
  totals[direction][1] += length;
  log.add({ direction, kind, time: Date.now(), message, length, roundTrip });
  showTotalsSoon();
}

function logEvent(kind, details) {
  const row = { direction: "event", kind, time: Date.now(), message: "", length: 0 };
  log.add({ ...row, ...details });
}

function stateChanged(state, details) {
  clearInterval(stateChanged.countdown);
  showState(state, text(`state_${state}`));
  $("#cancel").hidden = state !== "waiting";
  // A countdown read aloud ten times a second would drown everything else.
  $("#account").ariaLive = state === "waiting" ? "off" : "polite";
  switch (state) {
    case "closed":
      if (details.cancelled) account(text("account_cancelled"));
      break;
    case "open":
      account(
        details.protocol
          ? text("account_open_protocol", details)
          : text("account_open"),
      );
      break;
    case "waiting":
      countDown(details);
      break;
    case "connecting":
    case "closing":
    case "refused":
      account(text(`account_${state}`));
      break;
    default:
      throw new TypeError(`expected a state of the connection, got ${state}`);
  }
}

/** Shows how long until the next attempt. */
function countDown({ milliseconds, attempt }) {
  const due = performance.now() + milliseconds;
  const show = () => {
    const left = Math.max(0, due - performance.now());
    account(text("account_waiting", { seconds: (left / 1000).toFixed(1), attempt }));
  };
  show();
  stateChanged.countdown = setInterval(show, COUNTDOWN_MS);
}

/** Says in one line what is going on. */
function account(words) {
  $("#account").textContent = words;
}

function showAddress() {
  $("#address").textContent = socketAddress(location, knobs.query);
}

function showCloseProblem(problem) {
  $("#close-problem").textContent = problem ? text(problem.key, problem.values) : "";
  const code = $("#close-code").value;
  const key = $("#reconnect").checked ? "closing_summary_reconnect" : "closing_summary";
  $("#closing-summary").textContent = text(key, { code });
}

function checkClosing() {
  const { value: reason } = $("#close-reason");
  const code = $("#close-code").value.trim();
  showCloseProblem(closeProblem(code, reason, limits.maxCloseReasonBytes));
}

function showTotalsSoon() {
  showTotalsSoon.frame ??= requestAnimationFrame(() => {
    showTotalsSoon.frame = null;
    showTotals();
  });
}

function showTotals() {
  for (const [direction, [messages, bytes]] of Object.entries(totals)) {
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
  connection.cancel();
  $("#open").focus();
});
$("#copy-address").addEventListener("click", ({ target }) =>
  kit.copy($("#address").textContent, target),
);
$("#reconnect").addEventListener("change", ({ target }) => {
  connection.reconnects = target.checked;
  if (!target.checked) connection.cancel();
  checkClosing();
});
$("#close-code").addEventListener("input", checkClosing);
$("#close-reason").addEventListener("input", checkClosing);
connection.reconnects = $("#reconnect").checked;
showAddress();
checkClosing();
showTotals();
account(text("account_start"));
