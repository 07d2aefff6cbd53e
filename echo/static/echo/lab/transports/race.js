/**
 * One race: reserves it, measures what the figures need, opens the lanes, starts the
 * publishing, cuts the network if that is asked for, and ends it. No DOM of the page.
 *
 * `manage.py race` (echo/lab/racer/run.py) does the same with the same numbers.
 */

import { post } from "../post.js";
import { measureClock, now } from "./clock.js";
import { LANES, makeLane } from "./lanes.js";
import { responseHeadBytes, switchingHeadBytes } from "./sizes.js";

const CUT_MS = 3000;
const OPEN_MS = 15_000;
// What comes later than this after the last event was published is lost.
const GRACE_MS = 10_000;
// An event that is due is at the server after so long, whatever the load of the machine.
const SLACK_SECONDS = 0.5;
const POLL_SECONDS = 1; // from one short poll to the next
const SLOW_POLL_SECONDS = 1.5; // the same on the slow network
const QUIET_MS = 250;
// Half of the pause between two short polls.
const LAST_PAUSE_MS = 500;
const TICK_MS = 10;
// For close frames, and for the browser's measurements.
const SETTLE_MS = 2000;
const JSON_HEADERS = { Accept: "application/json" };

export class Race extends EventTarget {
  /**
   * `addresses` has `reserve`, `start`, `clock`, `head`, `feed`, `slow` and `stock` as
   * absolute URLs. Events: `phase` (detail: its name) and `change` for new figures.
   */
  constructor(addresses, settings) {
    super();
    this.addresses = addresses;
    this.settings = settings; // what the visitor asked for; then what the server confirmed
    this.stopping = new AbortController();
    this.lanes = [];
    this.clock = null;
    this.browser = null; // how the server sees this browser
    this.protocol = null; // of HTTP, as the browser negotiated it
    this.cutTimes = null; // [from, to] in ms of the server's clock
    this.isOver = false;
  }

  get signal() {
    return this.stopping.signal;
  }

  /** Stop: the server sees the end of the request and publishes no more. */
  stop() {
    this.stopping.abort();
  }

  /** Run the race; throw the reason why it cannot be run, or an AbortError after stop. */
  async run() {
    try {
      await this.prepare();
      await this.openLanes();
      await this.race();
    } finally {
      this.stopping.abort(); // where it has failed, nothing may go on
      for (const lane of this.lanes) lane.close();
    }
    await this.settle();
    this.enter("over");
  }

  enter(phase) {
    this.isOver = phase === "over";
    this.dispatchEvent(new CustomEvent("phase", { detail: phase }));
    this.change();
  }

  change() {
    this.dispatchEvent(new Event("change"));
  }

  // --- before the start -----------------------------------------------------------------

  async prepare() {
    const { addresses, signal } = this;
    this.enter("preparing");
    this.settings = await post(addresses.reserve, this.settings, { signal });
    this.watchBodies();
    this.heads = await this.measureHeads();
    this.clock = await measureClock(addresses.clock, signal);
  }

  /** Return the sizes of heads, those of requests without their paths. */
  async measureHeads() {
    const { head, feed } = this.addresses;
    const known = new URL(head).pathname.length;
    const options = { headers: JSON_HEADERS, cache: "no-store", signal: this.signal };
    const response = await fetch(head, options);
    const { head_bytes: fetched, ...browser } = await response.json();
    this.browser = browser;
    const [source, socket, stream] = await Promise.all([
      firstMessage(new EventSource(head), this.signal),
      firstMessage(new WebSocket(socketAddress(head)), this.signal),
      streamHead(new URL("sse?topic=race", feed), this.signal),
    ]);
    return {
      fetch: fetched - known,
      source: Number(source) - known,
      socket: Number(socket) - known,
      stream: responseHeadBytes(stream),
      switching: switchingHeadBytes(stream.headers.get("server")),
    };
  }

  /** Give the meters the bodies that the browser measures, as it reports them. */
  watchBodies() {
    this.observer = new PerformanceObserver((list) =>
      this.addBodies(list.getEntries()),
    );
    this.observer.observe({ type: "resource" });
  }

  addBodies(entries) {
    for (const { name, encodedBodySize, nextHopProtocol } of entries) {
      const { pathname, searchParams } = new URL(name);
      const isOurs = searchParams.get("topic") === this.settings.topic;
      if (!isOurs || !pathname.endsWith("/poll") || !encodedBodySize) continue;
      const wanted = searchParams.has("wait") ? "longpoll" : "shortpoll";
      this.lanes.find(({ name }) => name === wanted)?.meter.addBody(encodedBodySize);
      this.protocol = nextHopProtocol;
    }
    this.change();
  }

  /**
   * Open the lanes, the short poll last: its polls then fall at the same moments of each
   * race, and two races with the same settings make the same number of requests.
   */
  async openLanes() {
    const { addresses, settings } = this;
    const isSlow = settings.scenario === "slow";
    const shared = {
      base: isSlow ? addresses.slow : addresses.feed,
      stock: stockAddress(isSlow ? addresses.slow_stock : addresses.stock, settings.id),
      topic: settings.topic,
      clock: this.clock,
      heads: this.heads,
    };
    this.enter("opening");
    this.lanes = LANES.map((name) => makeLane(name, shared, () => this.change()));
    const [shortPoll, ...others] = this.lanes;
    await this.within(OPEN_MS, Promise.all(others.map((lane) => lane.open())));
    await this.within(OPEN_MS, shortPoll.open());
  }

  // --- the race -------------------------------------------------------------------------

  async race() {
    const { start } = this.addresses;
    const { token, scenario, seconds } = this.settings;
    const began = performance.now();
    this.beganAt = performance.timeOrigin + began + this.clock.offset;
    this.enter("racing");
    const publishing = post(start, { token }, { signal: this.signal });
    const cutting = scenario === "cut" ? this.cut(began, seconds) : seconds;
    const [left] = await Promise.all([cutting, publishing]);
    this.enter("ending");
    await this.waitForEnd(left);
  }

  /** Cut all lanes in the middle for a while; return how long the race goes on then. */
  async cut(began, seconds) {
    // Half a second off the short poll's own rhythm.
    const cutAt = Math.floor(seconds / 2) * 1000 + 500;
    await this.pause(began + cutAt - performance.now());
    const from = now() + this.clock.offset;
    this.cutTimes = [from, from + CUT_MS];
    this.enter("cut");
    for (const lane of this.lanes) lane.cut();
    await this.pause(began + cutAt + CUT_MS - performance.now());
    for (const lane of this.lanes) lane.restore();
    // As the browser does when its network is back; feeds do not wait longer then.
    window.dispatchEvent(new Event("online"));
    this.enter("restored");
    return Math.max(0, seconds - (cutAt + CUT_MS) / 1000);
  }

  /** Wait for the poll that must have the last event, and for lanes that still read. */
  async waitForEnd(left) {
    const deadline = performance.now() + GRACE_MS;
    const [shortPoll] = this.lanes;
    const isSlow = this.settings.scenario === "slow";
    const period = isSlow ? SLOW_POLL_SECONDS : POLL_SECONDS;
    let rounds = Math.ceil((left + SLACK_SECONDS) / period) + 1;
    while (performance.now() < deadline) {
      if (shortPoll.responses >= rounds) {
        if (this.lanes.every((lane) => this.isDone(lane))) break;
        rounds = shortPoll.responses + 1;
      }
      await this.pause(TICK_MS);
    }
    await this.pause(LAST_PAUSE_MS);
  }

  /** Return whether nothing more is to come; the stock lane cannot know what it lost. */
  isDone({ name, arrivals, arrivedAt }) {
    const isQuiet = performance.now() - arrivedAt > QUIET_MS;
    return arrivals.size === this.settings.events || (name === "stock" && isQuiet);
  }

  /** Wait for close frames, and for the sizes of bodies that the browser still owes. */
  async settle() {
    const deadline = performance.now() + SETTLE_MS;
    const isSettled = () =>
      this.lanes.every(
        ({ meter }) => meter.bodies >= meter.responses && meter.isClosed,
      );
    while (!isSettled() && performance.now() < deadline) await pause(TICK_MS);
    this.addBodies(this.observer.takeRecords());
    this.observer.disconnect();
    for (const { meter } of this.lanes) meter.completeBodies();
  }

  // --- time -----------------------------------------------------------------------------

  pause(milliseconds) {
    return pause(milliseconds, this.signal);
  }

  /** Return what the work resolves to; throw if it takes too long, or after stop. */
  within(milliseconds, work) {
    const tooLong = this.pause(milliseconds).then(() => {
      throw new DOMException("", "TimeoutError");
    });
    return Promise.race([work, tooLong]);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** Return the data of a connection's first message, and close it. */
function firstMessage(connection, signal) {
  return new Promise((resolve, reject) => {
    connection.onmessage = ({ data }) => resolve(data);
    connection.onerror = () => reject(new Error(connection.url));
    signal.addEventListener("abort", () => reject(signal.reason));
  }).finally(() => connection.close());
}

/** Return the response that an EventSource gets, without its body. */
async function streamHead(url, signal) {
  const closing = new AbortController();
  const response = await fetch(url, {
    headers: { Accept: "text/event-stream" },
    cache: "no-store",
    signal: AbortSignal.any([closing.signal, signal]),
  });
  closing.abort();
  return response;
}

function socketAddress(address) {
  return address.replace(/^http/, "ws");
}

function stockAddress(address, race) {
  return `${socketAddress(address)}?race=${race}`;
}
