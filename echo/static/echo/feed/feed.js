/**
 * The feed in a browser: each event exactly once and in order, over any transport.
 *
 *     const feed = new Feed({ topics: ["news.*"] });
 *     feed.addEventListener("event", ({ detail }) => console.log(detail.data));
 *     feed.open();
 *
 * Events: `event` and `reset` (detail: the frame), `state` (detail: `{state, transport,
 * …}`, with `code` and `reason` if the server has sent `bye`). States: closed,
 * connecting, open, waiting, refused. Uses no DOM of the page.
 */

import { fullJitter } from "./backoff.js";
import { CAN_SHARE } from "./election.js";
import { Ledger } from "./ledger.js";
import { isEnded, Tabs } from "./tabs.js";
import { open as openLongPoll } from "./transports/longpoll.js";
import { pollOnce } from "./transports/polling.js";
import { open as openShortPoll } from "./transports/shortpoll.js";
import { open as openSse } from "./transports/sse.js";
import { open as openWebSocket } from "./transports/websocket.js";

/** How to open each transport, in the order of fallback. */
export const TRANSPORTS = {
  websocket: openWebSocket,
  sse: openSse,
  longpoll: openLongPoll,
  shortpoll: openShortPoll,
};
// Close codes from here on mean "do not reconnect"; echo/protocol.py has them all.
const FIRST_FINAL_CODE = 4500;
const OPEN_TIMEOUT_MS = 10_000;
// Failures in a row before a transport that has worked is given up for the next one.
const MAX_FAILURES = 3;
// Longer than a long poll waits, and than two heartbeats.
const SILENCE_MS = 50_000;
// Time between two tries of the first transport by a feed that has fallen back.
export const UPGRADE_MS = 300_000;
// A connection that lasted this long resets the backoff.
const STABLE_MS = 5000;
// Raise it with the messages of tabs.js: tabs of different versions must not share.
const TABS_VERSION = 2;

export class Feed extends EventTarget {
  /**
   * `base` is the feed's URL; `since` an id, "earliest" (not with `shared`), or null:
   * from now on; `transport` one name, or null to fall back through all; `storageKey`
   * keeps the cursor in sessionStorage for the tab's next page; `shared: false` gives this
   * tab a connection of its own; `network` has the `fetch`, `EventSource` and `WebSocket`
   * to use.
   */
  constructor({
    base = "/feed/",
    topics = ["news"],
    since = null,
    transport = null,
    storageKey = null,
    shared = true,
    network = globalThis,
  } = {}) {
    super();
    if (transport && !Object.hasOwn(TRANSPORTS, transport)) {
      const names = Object.keys(TRANSPORTS).join(", ");
      throw new RangeError(`expected one of ${names}, got ${transport}`);
    }
    this.base = new URL(base, location.href);
    this.topics = [...topics].sort();
    this.transports = transport ? [transport] : Object.keys(TRANSPORTS);
    this.storageKey = storageKey;
    this.shared = shared && CAN_SHARE;
    this.network = network;
    // Asked for until there is a cursor.
    this.since = since;
    this.ledger = new Ledger(
      this.loadCursor() ?? (since === "earliest" ? null : since),
    );
    this.state = "closed";
    this.detail = null; // of the latest `state` event
    this.attempt = 0; // of reconnecting, since the last stable connection
    this.index = 0; // of the current transport in `transports`
    this.failures = 0; // to open the current transport, in a row
    this.lastOpened = null; // the name of the last transport that worked
    this.tabs = null; // the browser's tabs with this feed, if they share it
    this.connection = null; // this tab's own; a follower has none
    this.isOpened = false; // a frame has arrived on this connection
    this.bye = null; // the frame, if the server has ended this connection
    this.probe = null; // the connection over the first transport that an upgrade tries
  }

  get cursor() {
    return this.ledger.cursor;
  }

  /** The number of gaps found in the chain of `previous`. */
  get lost() {
    return this.ledger.lost;
  }

  /** The name of the transport in use, or of the one being tried. */
  get transport() {
    return this.isFollower ? this.tabs.transport : this.transports[this.index];
  }

  /** True if another tab has the connection. */
  get isFollower() {
    return Boolean(this.tabs && !this.tabs.isLeader);
  }

  /** True if the feed does not reconnect by itself. */
  get isEnded() {
    return isEnded(this.state);
  }

  /** Start reading, also after the server has ended the feed; no-op while reading. */
  open() {
    if (!this.isEnded) return;
    this.release();
    this.listenToPage();
    this.start();
  }

  /** Stop reading; keep the cursor. */
  close() {
    this.pageListeners?.abort();
    // Before the state changes, or this tab would broadcast that the feed is closed.
    this.release();
    this.setState("closed");
    this.saveCursor();
  }

  /** Drop the connection as a network failure would; the feed reconnects. */
  cut() {
    if (this.isFollower) this.tabs.cut();
    else if (this.connection) this.handleEnd({});
  }

  start() {
    this.attempt = 0;
    if (!this.shared || this.tabs) return this.connect();
    this.setState("connecting");
    const name = `feed-${TABS_VERSION} ${this.base} ${this.transports} ${this.topics}`;
    this.tabs = new Tabs(this, name, SILENCE_MS);
  }

  /** Drop the connection, and leave the other tabs. */
  release() {
    this.tabs?.leave();
    this.tabs = null;
    this.disconnect();
  }

  // --- one connection -------------------------------------------------------------------

  connect() {
    this.disconnect();
    this.setState("connecting");
    this.setConnection(
      this.openTransport(this.index, {
        frame: (frame) => this.receive(frame),
        ended: (end) => this.handleEnd(end),
      }),
    );
    this.restartSilenceTimer(OPEN_TIMEOUT_MS);
  }

  /** Open a transport from the cursor; return the connection, `{close()}`. */
  openTransport(index, on) {
    if (index === 0) this.firstTriedAt = performance.now();
    const { base, network } = this;
    const target = { base, query: this.query(this.cursor ?? this.since), network };
    return TRANSPORTS[this.transports[index]](target, on);
  }

  setConnection(connection) {
    this.connection = connection;
    this.isOpened = false;
    this.bye = null;
  }

  /** Return the parameters of a subscription that begins after `since`. */
  query(since) {
    const query = new URLSearchParams(this.topics.map((topic) => ["topic", topic]));
    if (since) query.set("since", since);
    return query;
  }

  disconnect() {
    this.stopUpgrade();
    clearTimeout(this.reconnectTimer);
    clearTimeout(this.silenceTimer);
    this.connection?.close();
    this.connection = null;
  }

  /** End the connection unless a frame arrives in time. */
  restartSilenceTimer(milliseconds) {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.handleEnd({}), milliseconds);
  }

  receive(frame) {
    this.restartSilenceTimer(SILENCE_MS);
    if (frame.type === "bye") this.bye = frame;
    if (!this.isOpened) this.handleOpen();
    const after = this.cursor;
    this.deliver(frame);
    this.tabs?.broadcast({ type: "frame", after, frame });
  }

  handleOpen() {
    this.isOpened = true;
    this.failures = 0;
    this.lastOpened = this.transport;
    this.openedAt = performance.now();
    this.setState("open");
    if (this.index > 0) this.scheduleUpgrade();
  }

  /** Dispatch a frame to the page, unless it is a duplicate. */
  deliver(frame) {
    if (this.isEnded || !this.ledger.take(frame)) return;
    if (frame.type !== "event" && frame.type !== "reset") return;
    this.dispatchEvent(new CustomEvent(frame.type, { detail: frame }));
  }

  /** `end` is `{status, detail}` of an HTTP response, or `{code, reason}` of a close. */
  handleEnd({ status, detail, ...close }) {
    this.disconnect();
    if (status >= 400 && status < 500 && status !== 429) {
      return this.setState("refused", { detail });
    }
    const { code, reason } = this.bye ?? close;
    if (code >= FIRST_FINAL_CODE) return this.setState("closed", { code, reason });
    if (!this.isOpened) return this.handleOpenFailure();
    if (performance.now() - this.openedAt >= STABLE_MS) this.attempt = 0;
    return this.reconnectLater(this.bye?.retry_ms);
  }

  /** Try the next transport; after the last one, wait and start with the first. */
  handleOpenFailure() {
    this.failures += 1;
    const isRetried =
      this.lastOpened === this.transport && this.failures < MAX_FAILURES;
    if (isRetried || !navigator.onLine) return this.reconnectLater();
    this.lastOpened = null;
    this.failures = 0;
    this.index = (this.index + 1) % this.transports.length;
    if (this.index > 0) return this.connect();
    if (this.transports.length === 1) this.checkRefusal();
    return this.reconnectLater();
  }

  /** Poll once: the answer has a status, which a WebSocket's refusal hides. */
  async checkRefusal() {
    try {
      await pollOnce(this.base, this.query(), { network: this.network });
    } catch ({ status, message }) {
      if (status && this.state === "waiting") {
        this.handleEnd({ status, detail: message });
      }
    }
  }

  reconnectLater(milliseconds = fullJitter(this.attempt)) {
    const { code, reason } = this.bye ?? {};
    this.attempt += 1;
    this.reconnectTimer = setTimeout(() => this.connect(), milliseconds);
    this.setState("waiting", { milliseconds, attempt: this.attempt, code, reason });
  }

  setState(state, details = {}) {
    this.state = state;
    this.detail = { state, transport: this.transport, ...details };
    this.dispatchEvent(new CustomEvent("state", { detail: this.detail }));
    this.tabs?.broadcastState("state");
  }

  // --- back to the first transport ------------------------------------------------------

  scheduleUpgrade() {
    const milliseconds = this.firstTriedAt + UPGRADE_MS - performance.now();
    this.upgradeTimer = setTimeout(() => this.upgrade(), milliseconds);
  }

  /** Try the first transport beside the one in use, and replace it on the first frame. */
  upgrade() {
    const probe = this.openTransport(0, {
      frame: (frame) => {
        if (this.probe) this.completeUpgrade();
        this.receive(frame);
      },
      ended: (end) => (this.probe ? this.abandonUpgrade() : this.handleEnd(end)),
    });
    this.probe = probe;
    this.upgradeTimer = setTimeout(() => this.abandonUpgrade(), OPEN_TIMEOUT_MS);
  }

  completeUpgrade() {
    const { probe } = this;
    this.probe = null;
    this.disconnect();
    this.index = 0;
    this.setConnection(probe);
  }

  abandonUpgrade() {
    this.stopUpgrade();
    this.scheduleUpgrade();
  }

  stopUpgrade() {
    clearTimeout(this.upgradeTimer);
    this.probe?.close();
    this.probe = null;
  }

  // --- the page's life ------------------------------------------------------------------

  listenToPage() {
    this.pageListeners?.abort();
    this.pageListeners = new AbortController();
    const { signal } = this.pageListeners;
    const reconnect = () => this.reconnectNow();
    addEventListener("online", reconnect, { signal });
    addEventListener("pageshow", reconnect, { signal });
    addEventListener("pagehide", () => this.suspend(), { signal });
    document.addEventListener(
      "visibilitychange",
      () => (document.hidden ? this.saveCursor() : reconnect()),
      { signal },
    );
  }

  /** End the wait for the next attempt; no-op in other states. */
  reconnectNow() {
    if (this.state === "waiting" && !this.isFollower) this.start();
  }

  /** Release everything: browsers put only such a page into the back/forward cache. */
  suspend() {
    this.saveCursor();
    if (this.isEnded) return;
    this.release();
    this.setState("waiting", { milliseconds: 0 });
  }

  loadCursor() {
    return this.storageKey && sessionStorage.getItem(this.storageKey);
  }

  saveCursor() {
    if (this.storageKey && this.cursor) {
      sessionStorage.setItem(this.storageKey, this.cursor);
    }
  }
}
