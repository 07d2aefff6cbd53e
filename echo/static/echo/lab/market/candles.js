/** Makes candles of trades, and averages of candles. Uses no DOM. */

/**
 * The candles of one interval, in the order of time: `{time, open, high, low, close,
 * volume}` with the time of its beginning in seconds since 1970.
 */
export class Candles {
  /** `seconds` is the interval; of more than `limit` candles the oldest are dropped. */
  constructor(seconds, limit = Infinity) {
    this.seconds = seconds;
    this.limit = limit;
    this.list = [];
    this.changedFrom = 0; // the index of the first candle that `takeChanged` has not told
  }

  /** Add a trade, `{time, price, size}` with the time in ms. */
  add({ time, price, size }) {
    const begin = Math.floor(time / 1000 / this.seconds) * this.seconds;
    const index = this.find(begin);
    const candle = this.list[index];
    this.changedFrom = Math.min(this.changedFrom, index);
    if (candle?.time !== begin) {
      const opened = { open: price, high: price, low: price, close: price };
      this.list.splice(index, 0, { time: begin, ...opened, volume: size });
      this.trim();
      return;
    }
    candle.high = Math.max(candle.high, price);
    candle.low = Math.min(candle.low, price);
    candle.close = price;
    candle.volume += size;
  }

  /** Return the index of the first candle that begins then or later; mostly the last. */
  find(begin) {
    let index = this.list.length;
    while (index > 0 && this.list[index - 1].time >= begin) index -= 1;
    return index;
  }

  /** Drop the oldest candles: many at once, because a chart draws all of them again then. */
  trim() {
    if (this.list.length <= this.limit * 1.1) return;
    this.list.splice(0, this.list.length - this.limit);
    this.changedFrom = 0;
  }

  /** Return the index of the first candle that has changed since the last call. */
  takeChanged() {
    const changed = Math.min(this.changedFrom, this.list.length);
    this.changedFrom = this.list.length;
    return changed;
  }
}

/**
 * Return the simple moving averages of `length` closing prices, `{time, value}`, of the
 * candles from an index on; the first `length - 1` candles have none.
 */
export function movingAverages(candles, length, from = 0) {
  const averages = [];
  const first = Math.max(from, length - 1);
  let sum = 0;
  for (let index = first - length + 1; index < candles.length; index += 1) {
    sum += candles[index].close;
    if (index < first) continue;
    averages.push({ time: candles[index].time, value: sum / length });
    sum -= candles[index - length + 1].close;
  }
  return averages;
}

/** Return the change from one price to another, `{amount, percent, sign}`. */
export function change(from, to) {
  const amount = to - from;
  return { amount, percent: (amount / from) * 100, sign: Math.sign(amount) };
}

// As echo/lab/market/csvfile.py allows.
const MAX_DECIMALS = 8;

/**
 * Return the trade of an event's data, `{time, price, decimals, size, side, simulated}`
 * with the time in ms; null for data that is no trade, which anybody may publish.
 */
export function parseTrade(data) {
  const { time, price, size, side, simulated } = data ?? {};
  const trade = { time: Date.parse(time), price: Number(price), size: Number(size) };
  if (!Object.values(trade).every((value) => value > 0 && value < Infinity))
    return null;
  const decimals = String(price).split(".")[1]?.length ?? 0;
  return {
    ...trade,
    decimals: Math.min(decimals, MAX_DECIMALS),
    side: side === "buy" || side === "sell" ? side : "",
    simulated: simulated !== false,
  };
}
