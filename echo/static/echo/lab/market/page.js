/** The page Market: joins the stream of trades to the chart, the tables and the forms. */

import { oncePerFrame } from "../../site/schedule.js";
import { showState } from "../../site/state.js";
import { readTexts } from "../../site/texts.js";
import { loadSettings, saveSettings } from "../settings.js";
import { Candles, parseTrade } from "./candles.js";
import { MAX_UPDATES, MarketChart } from "./chart.js";
import { Source } from "./source.js";
import { Stream } from "./stream.js";
import {
  formats,
  showCandles,
  showTrades,
  showValues,
  signMark,
  TRADES_SHOWN,
} from "./tables.js";

const INTERVALS = [1, 5, 60];
const MAX_CANDLES = 20_000;
const CUT_MS = 3000;
const HIGHLIGHT_MS = 5000;
// The time between two drawings while the history comes, of thousands of candles each.
const HISTORY_MS = 250;
// A screen reader's table must not change while it is read; and it speaks now and then.
const TABLE_MS = 5000;
const SPOKEN_MS = 20_000;
// After this time without much of it the history has come, or the log has none.
const SETTLED_MS = 700;
const SYMBOL = /^[A-Za-z0-9_-]{1,20}$/;

const $ = (selector) => document.querySelector(selector);
const text = readTexts($("#texts"));
const start = JSON.parse($("#start").textContent);
const { lang: language } = document.documentElement;
const number = new Intl.NumberFormat(language);
const format = formats(language);
const settings = $("#settings");
const choice = settings.elements;

const stream = new Stream(start.topic);
const source = new Source($("#source"), { text, format, start, onStart: showOneOf });
const schedule = oncePerFrame(draw);
const onCrosshair = oncePerFrame(showLegend);
const chart = new MarketChart($("#chart"), { language, onCrosshair });

let candles; // of each interval, by its seconds
let trades; // the last ones
let precision;
let settleTimer;
let highlightTimer;
let drawnAt = -Infinity; // when so many candles were drawn, by performance.now()

// --- settings ---------------------------------------------------------------------------

/** Offer a symbol that the server does not know yet, such as the address's. */
function offer(symbol) {
  const isOffered = [...choice.symbol.options].some(({ value }) => value === symbol);
  if (SYMBOL.test(symbol) && !isOffered) choice.symbol.add(new Option(symbol, symbol));
}

/** Show a symbol of a market that this visitor wants to see. */
function showOneOf(symbols) {
  if (symbols.includes(choice.symbol.value)) return;
  choice.symbol.value = symbols[0];
  save();
  read();
}

function save() {
  saveSettings(settings);
  // By name even if it is the first one, which depends on what the log has.
  const address = new URL(location.href);
  address.searchParams.set("symbol", choice.symbol.value);
  history.replaceState(null, "", address);
}

function handleChange({ target }) {
  save();
  switch (target.name) {
    case "symbol":
      return read();
    case "interval":
      return showInterval();
    case "transport":
      return carryOver();
    case "rising":
      return showRising();
    default:
      throw new Error(`expected a setting of this page, got ${target.name}`);
  }
}

/** Read the chosen symbol from its first trade in the log on. */
function read() {
  candles = Object.fromEntries(
    INTERVALS.map((seconds) => [seconds, new Candles(seconds, MAX_CANDLES)]),
  );
  trades = [];
  precision = 0;
  $("#recovery").textContent = text("cut_hint");
  delete $("#recovery").dataset.kind;
  showInterval();
  stream.read(choice.symbol.value, choice.transport.value);
  schedule();
}

function carryOver() {
  stream.carryOver(choice.transport.value);
}

function shown() {
  return candles[choice.interval.value];
}

function showInterval() {
  const { symbol, interval } = choice;
  const label = settings.querySelector("[name=interval]:checked").dataset.label;
  $("#chart").setAttribute(
    "aria-label",
    text("chart", { symbol: symbol.value, label }),
  );
  $("#candles caption").textContent = text("candles", { symbol: symbol.value, label });
  $("#trades caption").textContent = text("trades", { symbol: symbol.value });
  $("#symbol").textContent = symbol.value;
  chart.setHighlight(null);
  candles[interval.value].takeChanged();
  chart.show(shown().list);
  showLegend();
  showTable();
}

function showRising() {
  $("main").dataset.rising = choice.rising.value;
  chart.setRising(choice.rising.value);
}

// --- what comes -------------------------------------------------------------------------

function handleTrade(data) {
  const trade = parseTrade(data);
  if (!trade) return;
  precision = Math.max(precision, trade.decimals);
  for (const seconds of INTERVALS) candles[seconds].add(trade);
  trades.push(trade);
  if (trades.length > 10 * TRADES_SHOWN) trades.splice(0, trades.length - TRADES_SHOWN);
  $("#simulated").hidden = !trade.simulated;
  chart.setNote(trade.simulated ? text("simulated") : "");
  source.handleTrade(data);
  schedule();
}

function handleState(detail) {
  const { state } = detail;
  showState(state, text(`state_${state}`));
  $("#problem").textContent =
    state === "refused" ? text("refused", { detail: detail.detail }) : "";
  $("#cut").disabled = state !== "open";
  schedule();
  if (state === "open") settleLater();
}

/** Read again what the log has: it may be more than what comes after the gap. */
function handleReset({ reason }) {
  read();
  $("#recovery").textContent = text(`reset_${reason}`);
  $("#recovery").dataset.kind = "bad";
}

function handleRecovered({ seconds, recovered, lost, times }) {
  const key = recovered === 1 ? "recovered_one" : "recovered";
  $("#recovery").textContent = text(key, {
    seconds: seconds.toFixed(1),
    recovered: number.format(recovered),
    lost,
  });
  $("#recovery").dataset.kind = lost ? "bad" : "good";
  schedule();
  if (recovered) highlight(times);
}

/** Highlight the candles of recovered trades for a moment. */
function highlight([from, to]) {
  const seconds = Number(choice.interval.value);
  const begin = Math.floor(from / 1000 / seconds) * seconds;
  chart.setHighlight([begin, to / 1000]);
  clearTimeout(highlightTimer);
  highlightTimer = setTimeout(() => chart.setHighlight(null), HIGHLIGHT_MS);
}

// --- what is shown ----------------------------------------------------------------------

function draw() {
  if (isHistoryComing()) return schedule();
  chart.setPrecision(precision);
  const { list } = shown();
  const changed = shown().takeChanged();
  if (changed < list.length) chart.draw(changed);
  if (list.length - changed > MAX_UPDATES) settleLater();
  showTrades($("#trades tbody"), trades, { format, precision, text });
  showPrice();
  showLegend();
  $("#received").textContent = number.format(stream.received);
  $("#lost").textContent = number.format(stream.lost);
  $("#lost").dataset.kind = stream.lost ? "bad" : "good";
  $("#transport-used").textContent = stream.feed?.transport ?? "–";
  if (list.length) showEmpty();
}

/** Return true if so much has come that the whole chart is drawn, and that was just done. */
function isHistoryComing() {
  if (shown().list.length - shown().changedFrom <= MAX_UPDATES) return false;
  if (performance.now() - drawnAt < HISTORY_MS) return true;
  drawnAt = performance.now();
  return false;
}

function showPrice() {
  const last = trades.at(-1);
  const sign = last ? Math.sign(last.price - (trades.at(-2)?.price ?? last.price)) : 0;
  $("#price").textContent = last?.price.toFixed(precision) ?? "–";
  $("#price-sign").textContent = last ? signMark(sign) : "";
  $("#price-line").dataset.kind = { "-1": "sell", 0: "same", 1: "buy" }[sign];
}

function showLegend() {
  const { list } = shown();
  const index = chart.position ?? list.length - 1;
  showValues($("#legend"), list, index, { format, precision });
}

function settleLater() {
  clearTimeout(settleTimer);
  settleTimer = setTimeout(settle, SETTLED_MS);
}

/** Show what does not change with every trade, now that the history is there, or none. */
function settle() {
  showEmpty();
  showTable();
}

function showEmpty() {
  const isEmpty = shown().list.length === 0;
  $("#empty").hidden = !isEmpty;
  if (isEmpty) {
    $("#empty-title").textContent = text("empty", { symbol: choice.symbol.value });
  }
}

/** Update the table of candles, which a screen reader reads. */
function showTable() {
  showCandles($("#candles tbody"), shown().list, { format, precision });
  describeChart();
}

function speak() {
  const last = trades.at(-1);
  if (!last || stream.feed.state !== "open") return;
  $("#spoken").textContent = text("spoken", {
    symbol: choice.symbol.value,
    price: last.price.toFixed(precision),
    time: format.time(last.time),
  });
}

/** Give the chart its value as a slider over the candles. */
function describeChart(index = chart.position ?? shown().list.length - 1) {
  const { list } = shown();
  const element = $("#chart");
  element.setAttribute("aria-valuemax", Math.max(0, list.length - 1));
  element.setAttribute("aria-valuenow", Math.max(0, index));
  element.setAttribute("aria-valuetext", valueText(list[index]));
}

function valueText(candle) {
  if (!candle) return text("no_trades");
  const prices = Object.entries(candle).map(([name, value]) => [
    name,
    name === "volume" ? format.size(value) : value.toFixed(precision),
  ]);
  return text("candle", {
    ...Object.fromEntries(prices),
    time: format.time(candle.time * 1000),
  });
}

offer(new URLSearchParams(location.search).get("symbol") ?? "");
loadSettings(settings);
settings.addEventListener("change", handleChange);
settings.addEventListener("submit", (event) => event.preventDefault());
$("#cut").addEventListener("click", () => stream.cut(CUT_MS));
$("#chart").addEventListener("moved", ({ detail }) => describeChart(detail));
stream.addEventListener("trade", ({ detail }) => handleTrade(detail));
stream.addEventListener("notice", ({ detail }) => source.receive(detail));
stream.addEventListener("state", ({ detail }) => handleState(detail));
stream.addEventListener("reset", ({ detail }) => handleReset(detail));
stream.addEventListener("recovered", ({ detail }) => handleRecovered(detail));
setInterval(showTable, TABLE_MS);
setInterval(speak, SPOKEN_MS);
read();
showRising();
