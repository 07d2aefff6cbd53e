import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Candles,
  change,
  movingAverages,
  parseTrade,
} from "../../static/echo/lab/market/candles.js";

const trade = (seconds, price, size = 1) => ({ time: seconds * 1000, price, size });

function candlesOf(interval, ...trades) {
  const candles = new Candles(interval);
  for (const one of trades) candles.add(one);
  return candles;
}

test("a candle has the first, highest, lowest and last price, and the sum of sizes", () => {
  const trades = [
    trade(10.1, 5, 2),
    trade(10.5, 7),
    trade(10.9, 4, 3),
    trade(10.99, 6),
  ];
  assert.deepEqual(candlesOf(1, ...trades).list, [
    { time: 10, open: 5, high: 7, low: 4, close: 6, volume: 7 },
  ]);
});

test("an interval begins at a multiple of its length", () => {
  const trades = [trade(59.999, 1), trade(60, 2), trade(119, 3), trade(120, 4)];
  const times = (interval) =>
    candlesOf(interval, ...trades).list.map(({ time }) => time);
  assert.deepEqual(times(60), [0, 60, 120]);
  assert.deepEqual(times(5), [55, 60, 115, 120]);
});

test("seconds without a trade have no candle", () => {
  assert.equal(candlesOf(1, trade(1, 5), trade(9, 5)).list.length, 2);
});

test("a trade that comes late finds its candle, or its place", () => {
  const candles = candlesOf(1, trade(1, 5), trade(3, 5), trade(1, 9), trade(2, 6));
  assert.deepEqual(
    candles.list.map(({ time, high }) => [time, high]),
    [
      [1, 9],
      [2, 6],
      [3, 5],
    ],
  );
});

test("what has changed is told once", () => {
  const candles = candlesOf(1, trade(1, 5), trade(2, 5));
  assert.equal(candles.takeChanged(), 0);
  assert.equal(candles.takeChanged(), 2);
  candles.add(trade(2, 6));
  candles.add(trade(3, 6));
  assert.equal(candles.takeChanged(), 1);
  candles.add(trade(1, 6));
  assert.equal(candles.takeChanged(), 0);
});

test("the oldest candles are dropped beyond the limit", () => {
  const candles = new Candles(1, 10);
  for (let second = 1; second <= 1000; second += 1) candles.add(trade(second, 1));
  assert.ok(candles.list.length >= 10 && candles.list.length <= 11);
  assert.equal(candles.list.at(-1).time, 1000);
});

test("an average is that of so many closing prices, and has none before", () => {
  const { list } = candlesOf(1, ...[1, 2, 3, 10].map((price) => trade(price, price)));
  const values = (from) => movingAverages(list, 3, from).map(({ value }) => value);
  assert.deepEqual(values(0), [2, 5]);
  assert.deepEqual(values(3), [5]);
  assert.deepEqual(movingAverages(list.slice(0, 2), 3), []);
  assert.equal(movingAverages(list, 3)[0].time, 3);
});

test("averages from an index on are those of the whole", () => {
  const prices = Array.from({ length: 50 }, (_, index) => (index * 7919) % 101);
  const { list } = candlesOf(1, ...prices.map((price, at) => trade(at + 1, price + 1)));
  for (const from of [0, 3, 10, 49]) {
    const whole = movingAverages(list, 10).filter(({ time }) => time >= from + 1);
    const part = movingAverages(list, 10, from);
    assert.deepEqual(
      part.map(({ time, value }) => [time, value.toFixed(9)]),
      whole.map(({ time, value }) => [time, value.toFixed(9)]),
    );
  }
});

test("a change has an amount, a percentage and a sign", () => {
  assert.deepEqual(change(50, 49), { amount: -1, percent: -2, sign: -1 });
  assert.equal(change(50, 50).sign, 0);
});

test("a trade is read from an event's data", () => {
  const time = "2026-11-22T00:31:51.784Z";
  const data = { price: "43.20", size: 2, side: "buy", time, simulated: true };
  assert.deepEqual(parseTrade(data), {
    time: Date.parse(time),
    price: 43.2,
    decimals: 2,
    size: 2,
    side: "buy",
    simulated: true,
  });
});

test("data that is no trade is none", () => {
  const good = { price: "1", size: 1, time: "2026-11-22T00:31:51Z" };
  assert.equal(parseTrade(good).side, "");
  for (const bad of [
    null,
    "text",
    {},
    { ...good, price: "0" },
    { ...good, price: "-1" },
    { ...good, price: "1e999" },
    { ...good, size: "many" },
    { ...good, time: "yesterday" },
    { ...good, time: null },
  ]) {
    assert.equal(parseTrade(bad), null, JSON.stringify(bad));
  }
  assert.equal(parseTrade({ ...good, side: "<b>" }).side, "");
});
