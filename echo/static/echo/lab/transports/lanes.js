/** The five lanes: the feed's own client over each transport, and a plain WebSocket. */

import { Feed } from "../../feed/feed.js";
import { now } from "./clock.js";
import { Meter } from "./meter.js";

/** The names of the feed's transports, and the fifth lane, in the order of the page. */
export const LANES = ["shortpoll", "longpoll", "sse", "websocket", "stock"];

/** What the lanes share: a meter, and which event came when. */
class Lane {
  /** `race` has the addresses, the topic, the clock's offset and the sizes of heads. */
  constructor(name, race, onArrival) {
    this.name = name;
    this.race = race;
    this.onArrival = onArrival;
    this.meter = new Meter(race.heads);
    // By the event's index: `{sent, arrived, delay}` in ms of the server's clock.
    this.arrivals = new Map();
    this.arrivedAt = 0; // when the last one came
    this.responsesBefore = 0; // the meter's, when the lane was opened
  }

  /** The responses since the lane was opened, or opened again after a cut. */
  get responses() {
    return this.meter.responses - this.responsesBefore;
  }

  take({ index, sent_us: sentMicroseconds }) {
    this.arrivedAt = performance.now();
    if (this.arrivals.has(index)) return;
    const sent = sentMicroseconds / 1000;
    const arrived = now() + this.race.clock.offset;
    this.arrivals.set(index, { sent, arrived, delay: arrived - sent });
    this.onArrival();
  }

  cut() {
    this.meter.cut();
  }

  restore() {
    this.responsesBefore = this.meter.responses;
    this.meter.restore();
  }
}

/** A transport of the feed. */
class FeedLane extends Lane {
  /** Open the lane; resolve once it has shown that it works. */
  open() {
    const { base, topic } = this.race;
    this.feed = new Feed({
      base,
      topics: [topic],
      transport: this.name,
      shared: false,
      network: this.meter.network,
    });
    this.feed.addEventListener("event", ({ detail }) => this.take(detail.data));
    return new Promise((resolve, reject) => {
      this.feed.addEventListener("state", ({ detail: { state, detail } }) => {
        if (state === "open") resolve();
        if (state === "refused") reject(new Error(detail));
      });
      this.feed.open();
    });
  }

  close() {
    this.feed?.close();
  }
}

/** The stock consumer's client, as the tutorial's page has it. */
class StockLane extends Lane {
  open() {
    this.socket = new this.meter.network.WebSocket(this.race.stock);
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    return new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onerror = () => reject(new Error(this.race.stock));
    });
  }

  cut() {
    this.socket.onmessage = null;
    super.cut();
  }

  /** Open again: the tutorial's page would stay closed, and lose the rest as well. */
  restore() {
    super.restore();
    this.open().catch(() => {});
  }

  close() {
    this.socket?.close();
  }
}

export function makeLane(name, race, onArrival) {
  const Kind = name === "stock" ? StockLane : FeedLane;
  return new Kind(name, race, onArrival);
}
