/**
 * The trades of one symbol, each exactly once, from the earliest in the log on, over any
 * transport: changing it carries the cursor over. Uses no DOM.
 *
 * Events: `trade` and `notice` (detail: the frame's data, with `sentAt`), `state` (as the
 * feed's), `reset` (the frame), and `recovered` (detail: `{seconds, recovered, lost,
 * times}` with the times of the first and the last recovered trade).
 */

import { Feed } from "../../feed/feed.js";
import { Recovery } from "../../feed/recovery.js";
import { readLog } from "../../feed/transports/polling.js";

export class Stream extends EventTarget {
  feed = null;
  topic = null;
  received = 0; // trades of this symbol
  lostBefore = 0; // gaps that the feeds before this one have found
  recovery = new Recovery();
  tradeTimes = new Map(); // of the trades since an interruption began, by id
  cutTimer = null;

  /** `root` is the topic of notices; a symbol's trades are on `<root>.<symbol>`. */
  constructor(root) {
    super();
    this.root = root;
  }

  /** The number of gaps found in the chain of `previous`. */
  get lost() {
    return this.lostBefore + (this.feed?.lost ?? 0);
  }

  /** Read a symbol from its earliest trade on. `transport` is a name, or "" for any. */
  read(symbol, transport) {
    this.stop();
    this.recovery.cancel();
    this.topic = `${this.root}.${symbol}`;
    this.received = this.lostBefore = 0;
    this.open(transport, "earliest");
  }

  /** Go on over another transport, after the last event that has come. */
  carryOver(transport) {
    this.stop();
    this.lostBefore += this.feed.lost;
    this.open(transport, this.feed.cursor ?? "earliest");
  }

  /** Cut the connection for some time; the feed's log fills the gap. */
  cut(milliseconds) {
    this.beginRecovery();
    this.stop();
    this.cutTimer = setTimeout(() => this.feed.open(), milliseconds);
  }

  stop() {
    clearTimeout(this.cutTimer);
    this.feed?.close();
  }

  open(transport, since) {
    // Not shared with other tabs: each shows that its own transport loses nothing.
    const options = { since, transport: transport || null, shared: false };
    const feed = new Feed({ topics: [this.root, this.topic], ...options });
    this.feed = feed;
    feed.addEventListener("state", ({ detail }) => this.handleState(detail));
    feed.addEventListener("event", ({ detail }) => this.handleEvent(detail));
    feed.addEventListener("reset", ({ detail }) => this.handleReset(detail));
    feed.open();
  }

  handleState(detail) {
    if (detail.state === "waiting") this.beginRecovery();
    if (detail.state === "open") this.checkRecovery();
    this.dispatch("state", detail);
  }

  handleEvent({ id, topic, data, sent_at: sentAt }) {
    if (topic !== this.topic) return this.dispatch("notice", { ...data, sentAt });
    this.received += 1;
    if (this.recovery.interruption) this.tradeTimes.set(id, Date.parse(data?.time));
    this.recovery.receive(id);
    this.dispatch("trade", { ...data, sentAt });
    this.reportRecovery();
  }

  handleReset(frame) {
    this.recovery.cancel();
    this.dispatch("reset", frame);
  }

  beginRecovery() {
    if (!this.feed.cursor || this.recovery.interruption) return;
    this.tradeTimes.clear();
    this.recovery.begin(performance.now(), this.feed.cursor, this.lost);
  }

  /** Read from the log what was missed; the feed itself has to bring it. */
  async checkRecovery() {
    const { interruption } = this.recovery;
    if (!interruption) return;
    this.recovery.end(performance.now());
    const { base, feed } = { base: this.feed.base, feed: this.feed };
    const query = new URLSearchParams({
      topic: this.topic,
      since: interruption.cursor,
    });
    try {
      const missed = await readLog(base, query);
      if (this.recovery.interruption !== interruption || this.feed !== feed) return;
      this.recovery.expect(missed.map(({ id }) => id));
      this.reportRecovery();
    } catch {
      // Checked again when the feed is open again.
    }
  }

  reportRecovery() {
    const { missed } = this.recovery;
    const report = this.recovery.report(this.lost);
    if (!report) return;
    const times = [missed[0], missed.at(-1)].map((id) => this.tradeTimes.get(id));
    this.dispatch("recovered", { ...report, times });
  }

  dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
