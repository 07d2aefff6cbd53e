/**
 * The feed in a browser: exactly once and in order, over whatever transport there is.
 *
 *     const feed = new Feed({ topics: ["news.*"] });
 *     feed.addEventListener("event", ({ detail }) => console.log(detail.data));
 *     feed.open();
 *
 * Events: `event` and `reset` (detail: the frame), `state` (detail: `{state, transport,
 * …}`). States: closed, connecting, open, waiting, refused. Knows no page.
 */

import { fullJitter } from "./backoff.js";
import { isCovered, Ledger } from "./ledger.js";
import { CAN_SHARE, Sharing } from "./sharing.js";
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
const SILENCE_MS = 50_000;
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
    return this.isFollower ? this.leaderTransport : this.names[this.at];
  }

  get isFollower() {
    return Boolean(this.sharing && !this.sharing.leads);
  }

  /** Begins to read; nothing while it is reading. */
  open() {
    if (this.wakeups) return;
    this.listenForWaking();
    this.become("connecting");
    if (this.shared) this.share();
    else this.connect();
  }

  /** Stops reading; the cursor stays. */
  close() {
    this.wakeups?.abort();
    this.wakeups = null;
    // First of all, or the other tabs would hear that the feed is closed.
    this.sharing?.leave();
    this.sharing = null;
    this.stop("closed");
    this.store();
  }

  /** Drops the connection as an accident would; the feed comes back by itself. */
  cut() {
    if (this.isFollower) this.sharing.say({ type: "cut" });
    else if (this.connection) this.ended({});
  }

  // --- one connection -------------------------------------------------------------------

  connect() {
    this.drop();
    this.isOpened = false;
    this.bye = null;
    this.become("connecting");
    const target = { base: this.base, query: this.query(this.cursor) };
    this.connection = TRANSPORTS[this.transport](target, {
      frame: (frame) => this.hear(frame),
      ended: (how) => this.ended(how),
    });
    this.watch(OPEN_TIMEOUT_MS);
  }

  query(since) {
    const query = new URLSearchParams(this.topics.map((topic) => ["topic", topic]));
    if (since) query.set("since", since);
    return query;
  }

  drop() {
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
    this.sharing?.say({ type: "frame", after, frame });
  }

  opened() {
    this.isOpened = true;
    this.failures = 0;
    this.worked = this.transport;
    this.openedAt = performance.now();
    this.become("open");
  }

  /** Hands a frame to the page, if it is news. */
  deliver(frame) {
    if (!this.ledger.take(frame)) return;
    if (frame.type !== "event" && frame.type !== "reset") return;
    this.dispatchEvent(new CustomEvent(frame.type, { detail: frame }));
  }

  ended({ code, status, detail }) {
    this.drop();
    if (status >= 400 && status < 500 && status !== 429) {
      return this.stop("refused", { detail });
    }
    const reason = this.bye?.code ?? code ?? 0;
    if (reason >= FIRST_FINAL_CODE) return this.stop("closed", { code: reason });
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
    this.attempt += 1;
    this.timer = setTimeout(() => this.connect(), milliseconds);
    this.become("waiting", { milliseconds, attempt: this.attempt });
  }

  stop(state, details) {
    this.drop();
    this.become(state, details);
  }

  become(state, details = {}) {
    this.state = state;
    const detail = { state, transport: this.transport, ...details };
    this.dispatchEvent(new CustomEvent("state", { detail }));
    if (this.sharing?.leads)
      this.sharing.say({ type: "state", at: this.cursor, detail });
  }

  // --- one connection for all tabs ------------------------------------------------------

  share() {
    const name = `feed ${this.base} ${this.names} ${this.topics}`;
    this.sharing = new Sharing(name, {
      lead: () => this.connect(),
      heard: (message) => this.heardFromTab(message),
      deposed: () => this.drop(),
    });
    this.sharing.say({ type: "ask" });
    this.watchLeader();
  }

  watchLeader() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.sharing?.steal(), SILENCE_MS);
  }

  heardFromTab(message) {
    if (this.sharing.leads) return this.answerTab(message);
    switch (message.type) {
      case "frame":
        this.watchLeader();
        return this.follow(message);
      case "state":
        this.watchLeader();
        this.leaderTransport = message.detail.transport;
        this.become(message.detail.state, message.detail);
        return this.catchUp(message.at);
      default:
        return undefined;
    }
  }

  answerTab({ type }) {
    if (type === "cut") this.cut();
    if (type !== "ask") return;
    const detail = { state: this.state, transport: this.transport };
    this.sharing.say({ type: "state", at: this.cursor, detail });
  }

  /** Takes what another tab heard, if this tab has had all that came before it. */
  follow({ after, frame }) {
    if (this.catching) this.held.push({ after, frame });
    else if (!after || !this.cursor || isCovered(after, this.cursor))
      this.deliver(frame);
    else if (frame.type === "reset") this.deliver(frame);
    else {
      this.catchUp(after);
      this.held?.push({ after, frame });
    }
  }

  /** Reads from the log what other tabs had before this one listened. */
  async catchUp(until) {
    if (this.catching || !this.cursor || !until || isCovered(until, this.cursor))
      return;
    this.catching = true;
    this.held = [];
    try {
      await this.readTo(until);
    } catch {
      // Asking at once would only fail again: the leading tab's next frame names anew
      // what is missing.
      this.held = [];
    }
    this.catching = false;
    const { held } = this;
    this.held = null;
    for (const message of held) this.follow(message);
  }

  async readTo(until) {
    for (let more = true; more && !isCovered(until, this.cursor); ) {
      const answer = await ask(this.base, this.query(this.cursor));
      if (answer.reset) this.deliver(answer.reset);
      for (const event of answer.events) this.deliver(event);
      this.ledger.reach(answer.last_event_id);
      more = answer.more;
    }
  }

  // --- the tab --------------------------------------------------------------------------

  listenForWaking() {
    this.wakeups = new AbortController();
    const { signal } = this.wakeups;
    const wake = () => this.wake();
    addEventListener("online", wake, { signal });
    addEventListener("pageshow", wake, { signal });
    addEventListener("pagehide", () => this.store(), { signal });
    document.addEventListener(
      "visibilitychange",
      () => (document.hidden ? this.store() : wake()),
      { signal },
    );
  }

  /** Comes back at once when there is reason to hope. */
  wake() {
    if (this.state !== "waiting" || this.isFollower) return;
    this.attempt = 0;
    this.connect();
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
