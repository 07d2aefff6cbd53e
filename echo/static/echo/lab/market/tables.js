/** Fills the page's tables and the values under the crosshair. */

import { change, movingAverages } from "./candles.js";
import { AVERAGES } from "./chart.js";

// Kept rows of the last trades and of the last candles.
export const TRADES_SHOWN = 18;
const CANDLES_SHOWN = 10;
const MARKS = { buy: "▲", sell: "▼" };

/** Return functions that format what the page shows, in its language. */
export function formats(language) {
  const sizes = new Intl.NumberFormat(language, { maximumFractionDigits: 8 });
  const percents = new Intl.NumberFormat(language, {
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
    signDisplay: "exceptZero",
  });
  const times = new Intl.DateTimeFormat(language, {
    timeStyle: "medium",
    hourCycle: "h23",
  });
  return {
    size: (size) => sizes.format(size),
    percent: (percent) => `${percents.format(percent)} %`,
    time: (milliseconds) => times.format(milliseconds),
  };
}

/** Show the last trades, the latest first. */
export function showTrades(body, trades, { format, precision, text }) {
  fillRows(
    body,
    trades.slice(-TRADES_SHOWN).reverse(),
    ({ time, price, size, side }) => [
      format.time(time),
      price.toFixed(precision),
      format.size(size),
      side ? `${MARKS[side]} ${text(`side_${side}`)}` : "",
    ],
    ({ side }) => side,
  );
}

/** Show the last candles, the latest first. */
export function showCandles(body, candles, { format, precision }) {
  fillRows(
    body,
    candles.slice(-CANDLES_SHOWN).reverse(),
    ({ time, open, high, low, close, volume }) => [
      format.time(time * 1000),
      ...[open, high, low, close].map((price) => price.toFixed(precision)),
      format.size(volume),
    ],
    ({ open, close }) => (close < open ? "sell" : "buy"),
  );
}

/** Make the body's rows those of the items; `cells` and `kind` are functions of an item. */
function fillRows(body, items, cells, kind) {
  while (body.rows.length > items.length) body.deleteRow(-1);
  items.forEach((item, index) => {
    const row = body.rows[index] ?? body.insertRow();
    row.dataset.kind = kind(item);
    cells(item).forEach((content, column) => {
      const cell = row.cells[column] ?? row.insertCell();
      cell.classList.add("number");
      if (cell.textContent !== content) cell.textContent = content;
    });
  });
}

/** Show a candle's values, `dl` has an element for each by its `data-value`. */
export function showValues(dl, candles, index, { format, precision }) {
  const values = valuesOf(candles, index, { format, precision });
  for (const element of dl.querySelectorAll("[data-value]")) {
    const value = values[element.dataset.value] ?? "–";
    if (element.textContent !== value) element.textContent = value;
  }
}

function valuesOf(candles, index, { format, precision }) {
  const candle = candles[index];
  if (!candle) return {};
  const price = (value) => value?.toFixed(precision);
  const { percent, sign } = change(candle.open, candle.close);
  const values = {
    time: format.time(candle.time * 1000),
    open: price(candle.open),
    high: price(candle.high),
    low: price(candle.low),
    close: price(candle.close),
    change: `${signMark(sign)} ${format.percent(percent)}`,
    volume: format.size(candle.volume),
  };
  const past = candles.slice(0, index + 1);
  for (const length of AVERAGES) {
    values[`average${length}`] = price(movingAverages(past, length, index)[0]?.value);
  }
  return values;
}

/** Return the mark of a rise, a fall or neither. */
export function signMark(sign) {
  return { "-1": MARKS.sell, 0: "=", 1: MARKS.buy }[sign];
}
