import assert from "node:assert/strict";
import { test } from "node:test";
import { estimate } from "../../static/echo/lab/transports/clock.js";
import {
  figuresOf,
  missing,
  percentile,
} from "../../static/echo/lab/transports/figures.js";
import { heightOf } from "../../static/echo/lab/transports/plot.js";
import { shellCommand } from "../../static/echo/lab/transports/shell.js";

const DEFAULTS = { events: 20, rate: 4, size: 200 };

test("the shortest round trip gives the offset", () => {
  const samples = [
    { asked: 0, answered: 100, server: 1090 },
    { asked: 200, answered: 204, server: 1202 },
    { asked: 300, answered: 350, server: 1310 },
  ];
  assert.deepEqual(estimate(samples), { offset: 1000, uncertainty: 2 });
});

test("a percentile is one of the numbers, by nearest rank", () => {
  assert.equal(percentile([], 50), null);
  assert.equal(percentile([7], 95), 7);
  assert.equal(percentile([1, 2, 3, 4], 50), 2);
  assert.equal(percentile([1, 2, 3, 4], 95), 4);
});

test("a lane's figures: what came, what did not, and its cost for each event", () => {
  const arrivals = new Map([
    [0, { delay: 3 }],
    [2, { delay: 1 }],
  ]);
  const meter = { requests: 4, bytesSent: 100, bytesReceived: 300 };
  assert.deepEqual(figuresOf({ arrivals, meter }, 3), {
    events: 2,
    lost: 1,
    requests: 4,
    sent: 100,
    received: 300,
    perEvent: 200,
    p50: 1,
    p95: 3,
  });
  assert.deepEqual(missing(arrivals, 4), [1, 3]);
});

test("the plot's height is logarithmic, from 1 ms to 10 s", () => {
  assert.deepEqual(
    [0, 1, 10, 100, 1000, 10_000, 60_000].map(heightOf),
    [0, 0, 25, 50, 75, 100, 100],
  );
});

test("the command names what is not the default", () => {
  const settings = { events: 20, rate: 0.5, size: 200, scenario: "cut" };
  const command = shellCommand("http://here", settings, DEFAULTS, null);
  assert.equal(command, "manage.py race --url http://here --rate 0.5 --scenario cut");
});

test("the command has the browser's own words, quoted for a shell", () => {
  const settings = { ...DEFAULTS, scenario: "steady" };
  const browser = { user_agent: "It's me", sec_ch_ua: "", accept_language: "en" };
  const command = shellCommand("http://here", settings, DEFAULTS, browser);
  assert.equal(
    command,
    `manage.py race --url http://here --user-agent 'It'\\''s me' --sec-ch-ua '' --accept-language 'en'`,
  );
});
