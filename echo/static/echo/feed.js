/**
 * The feed in a browser: exactly once and in order, over whatever transport there is.
 *
 *     const feed = new Feed({ topics: ["news.*"] });
 *     feed.addEventListener("event", ({ detail }) => console.log(detail.data));
 *     feed.open();
 *
 * Events: `event` and `reset` (detail: the frame), `state` (detail: `{state, transport,
 * …}`, with `code` and `reason` when the server has said `bye`). States: closed,
 * connecting, open, waiting, refused. Knows no page.
 */

import { fullJitter } from "./backoff.js";
import { Ledger } from "./ledger.js";
import { CAN_SHARE } from "./sharing.js";
import { isOver, Tabs } from "./tabs.js";
import { open as openLongPoll } from "./transports/longpoll.js";
import { ask } from "./transports/polling.js";
import { open as openShortPoll } from "./transports/shortpoll.js";
import { open as openSse } from "./transports/sse.js";
import { open as openWebSocket } from "./transports/websocket.js";

export const TRANSPORTS = {
  websocket: openWebSocket,
  sse: openSse,
  longpoll: openLongPoll,
  shortpoll: openShortPoll,
};
// Close codes from here on mean "do not reconnect"; echo/protocol.py has them all.
export const FIRST_FINAL_CODE = 4500;
const OPEN_TIMEOUT_MS = 10_000;
// A transport that has worked is tried so often before another takes its place.
const PATIENCE = 3;
// Longer than a long poll waits, and than two heartbeats.
export const SILENCE_MS = 50_000;
// How often a feed that has fallen back looks whether the first transport works again.
export const CLIMB_MS = 300_000;
// A connection that lasted this long ends a row of failures.
const STABLE_MS = 5000;

export class Feed extends EventTarget {
  /**
   * `base` is where the feed lives; `since` an id (null: from now on); `transport` one
   * name, or null for the first that works; `storageKey` keeps the cursor for the
   * tab's next page; `shared` is false for a connection of this tab's own.
   */
  constructor({
    base = "/feed/",
    topics = ["news"],
    since = null,
    transport = null,
    storageKey = null,
    shared = true,
  } = {}) {
    super();
    if (transport && !Object.hasOwn(TRANSPORTS, transport)) {
      const names = Object.keys(TRANSPORTS).join(", ");
      throw new RangeError(`expected one of ${names}, got ${transport}`);
    }
    this.base = new URL(base, location.href);
    this.topics = [...topics].sort();
    this.names = transport ? [transport] : Object.keys(TRANSPORTS);
    this.storageKey = storageKey;
    this.shared = shared && CAN_SHARE;
    this.ledger = new Ledger(this.stored() ?? since);
    this.state = "closed";
    this.attempt = this.at = this.failures = 0;
  }

  get cursor() {
    return this.ledger.cursor;
  }

  /** How many gaps the `previous` chain has shown. */
  get lost() {
    return this.ledger.lost;
  }

  /** The transport in use, or the one that is being tried. */
  get transport() {
    return this.isFollower ? this.tabs.transport : this.names[this.at];
  }

  get isFollower() {
    return Boolean(this.tabs && !this.tabs.leads);
  }

  /** True when the feed does not come back by itself. */
  get isOver() {
    return isOver(this.state);
  }

  /** Begins to read, also when the server has ended it; nothing while it is reading. */
  open() {
    if (!this.isOver) return;
    this.leave();
    this.listenForWaking();
    this.begin();
  }

  /** Stops reading; the cursor stays. */
  close() {
    this.wakeups?.abort();
    // First of all, or the other tabs would hear that the feed is closed.
    this.leave();
    this.become("closed");
    this.store();
  }

  /** Drops the connection as an accident would; the feed comes back by itself. */
  cut() {
    if (this.isFollower) this.tabs.cut();
    else if (this.connection) this.ended({});
  }

  begin() {
    this.attempt = 0;
    if (!this.shared || this.tabs) return this.connect();
    this.become("connecting");
    const name = `feed ${this.base} ${this.names} ${this.topics}`;
    this.tabs = new Tabs(this, name, SILENCE_MS);
  }

  /** Lets go of the connection and of the other tabs. */
  leave() {
    this.tabs?.leave();
    this.tabs = null;
    this.drop();
  }

  // --- one connection -------------------------------------------------------------------

  connect() {
    this.drop();
    this.become("connecting");
    this.use(
      this.dial(
        this.at,
        (frame) => this.hear(frame),
        (how) => this.ended(how),
      ),
    );
    this.watch(OPEN_TIMEOUT_MS);
  }

  dial(at, frame, ended) {
    if (at === 0) this.firstTriedAt = performance.now();
    const target = { base: this.base, query: this.query(this.cursor) };
    return TRANSPORTS[this.names[at]](target, { frame, ended });
  }

  use(connection) {
    this.connection = connection;
    this.isOpened = false;
    this.bye = null;
  }

  query(since) {
    const query = new URLSearchParams(this.topics.map((topic) => ["topic", topic]));
    if (since) query.set("since", since);
    return query;
  }

  drop() {
    this.stopClimbing();
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    this.connection?.close();
    this.connection = null;
  }

  /** Takes the connection for dead when nothing is heard for so long. */
  watch(milliseconds) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.ended({}), milliseconds);
  }

  hear(frame) {
    this.watch(SILENCE_MS);
    if (frame.type === "bye") this.bye = frame;
    if (!this.isOpened) this.opened();
    const after = this.cursor;
    this.deliver(frame);
    this.tabs?.say({ type: "frame", after, frame });
  }

  opened() {
    this.isOpened = true;
    this.failures = 0;
    this.worked = this.transport;
    this.openedAt = performance.now();
    this.become("open");
    if (this.at > 0) this.climbLater();
  }

  /** Hands a frame to the page, if it is news. */
  deliver(frame) {
    if (this.isOver || !this.ledger.take(frame)) return;
    if (frame.type !== "event" && frame.type !== "reset") return;
    this.dispatchEvent(new CustomEvent(frame.type, { detail: frame }));
  }

  ended({ status, detail, ...close }) {
    this.drop();
    if (status >= 400 && status < 500 && status !== 429) {
      return this.become("refused", { detail });
    }
    const { code, reason } = this.bye ?? close;
    if (code >= FIRST_FINAL_CODE) return this.become("closed", { code, reason });
    if (!this.isOpened) return this.failed();
    if (performance.now() - this.openedAt >= STABLE_MS) this.attempt = 0;
    return this.wait(this.bye?.retry_ms);
  }

  /** Goes on to the next transport; when all have failed, waits and begins again. */
  failed() {
    this.failures += 1;
    const isPatient = this.worked === this.transport && this.failures < PATIENCE;
    if (isPatient || !navigator.onLine) return this.wait();
    this.worked = null;
    this.failures = 0;
    this.at = (this.at + 1) % this.names.length;
    if (this.at > 0) return this.connect();
    if (this.names.length === 1) this.askWhy();
    return this.wait();
  }

  /** A WebSocket does not tell why it was refused; a poll does. */
  async askWhy() {
    try {
      await ask(this.base, this.query());
    } catch (error) {
      if (error.status && this.state === "waiting") this.ended(endOf(error));
    }
  }

  wait(milliseconds = fullJitter(this.attempt)) {
    const { code, reason } = this.bye ?? {};
    this.attempt += 1;
    this.timer = setTimeout(() => this.connect(), milliseconds);
    this.become("waiting", { milliseconds, attempt: this.attempt, code, reason });
  }

  become(state, details = {}) {
    this.state = state;
    this.detail = { state, transport: this.transport, ...details };
    this.dispatchEvent(new CustomEvent("state", { detail: this.detail }));
    this.tabs?.say({ type: "state", at: this.cursor, detail: this.detail });
  }

  // --- back to the first transport ------------------------------------------------------

  climbLater() {
    const milliseconds = this.firstTriedAt + CLIMB_MS - performance.now();
    this.climbing = setTimeout(() => this.climb(), milliseconds);
  }

  /** Tries the first transport beside the one in use, which is left when it works. */
  climb() {
    const probe = this.dial(
      0,
      (frame) => {
        if (this.probe) this.arrive();
        this.hear(frame);
      },
      (how) => (this.probe ? this.stay() : this.ended(how)),
    );
    this.probe = probe;
    this.climbing = setTimeout(() => this.stay(), OPEN_TIMEOUT_MS);
  }

  arrive() {
    const { probe } = this;
    this.probe = null;
    this.drop();
    this.at = 0;
    this.use(probe);
  }

  stay() {
    this.stopClimbing();
    this.climbLater();
  }

  stopClimbing() {
    clearTimeout(this.climbing);
    this.probe?.close();
    this.probe = null;
  }

  // --- the tab --------------------------------------------------------------------------

  listenForWaking() {
    this.wakeups?.abort();
    this.wakeups = new AbortController();
    const { signal } = this.wakeups;
    const wake = () => this.wake();
    addEventListener("online", wake, { signal });
    addEventListener("pageshow", wake, { signal });
    addEventListener("pagehide", () => this.rest(), { signal });
    document.addEventListener(
      "visibilitychange",
      () => (document.hidden ? this.store() : wake()),
      { signal },
    );
  }

  /** Comes back at once when there is reason to hope. */
  wake() {
    if (this.state === "waiting" && !this.isFollower) this.begin();
  }

  /** Holds nothing any more: browsers keep only such a page for the way back to it. */
  rest() {
    this.store();
    if (this.isOver) return;
    this.leave();
    this.become("waiting", { milliseconds: 0 });
  }

  stored() {
    return this.storageKey && sessionStorage.getItem(this.storageKey);
  }

  store() {
    if (this.storageKey && this.cursor) {
      sessionStorage.setItem(this.storageKey, this.cursor);
    }
  }
}

function endOf({ status, message }) {
  return { status, detail: message };
}
