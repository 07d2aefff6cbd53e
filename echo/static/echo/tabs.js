/**
 * A feed among a browser's tabs: the one that leads passes on what it hears, the others
 * make of it a feed as whole and as ordered as their own would be.
 *
 * A feed that the server has ended is ended in all tabs, and stays so when its tab goes;
 * the next one that is opened begins anew, for all.
 */

import { isCovered } from "./ledger.js";
import { Sharing } from "./sharing.js";
import { ask } from "./transports/polling.js";

/** True of a state that a feed does not leave by itself. */
export function isOver(state) {
  return state === "closed" || state === "refused";
}

export class Tabs {
  /** The lead is taken from a tab that has said nothing for `silenceMs`. */
  constructor(feed, name, silenceMs) {
    this.feed = feed;
    this.silenceMs = silenceMs;
    // Until it has led, or has been told what the leading tab is doing.
    this.isNew = true;
    this.sharing = new Sharing(name, {
      lead: () => this.lead(),
      heard: (message) => this.heard(message),
      deposed: () => this.deposed(),
    });
    this.sharing.say({ type: "ask" });
    this.watchLeader();
  }

  get leads() {
    return this.sharing.leads;
  }

  /** Tells the other tabs what the one that leads has to tell. */
  say(message) {
    if (this.leads) this.sharing.say(message);
  }

  /** Has the leading tab drop the connection. */
  cut() {
    this.sharing.say({ type: "cut" });
  }

  leave() {
    clearTimeout(this.silence);
    this.sharing.leave();
  }

  // --- who leads ------------------------------------------------------------------------

  lead() {
    clearTimeout(this.silence);
    this.isNew = false;
    if (!this.feed.isOver) return this.feed.connect();
    return this.answer({ type: "ask" }); // of a tab that asked while nobody led
  }

  deposed() {
    this.feed.drop();
    this.sharing.say({ type: "ask" });
    this.watchLeader();
  }

  watchLeader(milliseconds = 0) {
    clearTimeout(this.silence);
    if (this.feed.isOver) return;
    this.silence = setTimeout(
      () => this.sharing.steal(),
      this.silenceMs + milliseconds,
    );
  }

  // --- what tabs say --------------------------------------------------------------------

  heard(message) {
    if (this.leads) this.answer(message);
    else this.learn(message);
  }

  answer({ type }) {
    const { cursor, detail } = this.feed;
    if (type === "cut") this.feed.cut();
    if (type === "ask") this.say({ type: "answer", at: cursor, detail });
  }

  learn(message) {
    switch (message.type) {
      case "frame":
        this.watchLeader();
        return this.follow(message);
      case "state":
        return this.become(message);
      case "answer":
        return this.answered(message);
      default:
        return undefined;
    }
  }

  /** Whoever opens a feed wants it, even if it has been ended in the other tabs. */
  answered(message) {
    const { state, transport } = message.detail;
    if (this.isNew && isOver(state)) return this.sharing.steal();
    // An answer is for who asked, but all hear it.
    const isNews = state !== this.feed.state || transport !== this.transport;
    return isNews ? this.become(message) : undefined;
  }

  become({ at, detail }) {
    this.isNew = false;
    this.transport = detail.transport;
    this.feed.become(detail.state, detail);
    this.watchLeader(detail.milliseconds);
    return this.catchUp(at);
  }

  // --- what the leading tab hears -------------------------------------------------------

  /** Takes what another tab heard, if this tab has had all that came before it. */
  follow({ after, frame }) {
    const { cursor } = this.feed;
    if (this.held) this.held.push({ after, frame });
    else if (!after || !cursor || isCovered(after, cursor) || frame.type === "reset")
      this.feed.deliver(frame);
    else {
      this.catchUp(after);
      this.held?.push({ after, frame });
    }
  }

  /** Reads from the log what other tabs had before this one listened. */
  async catchUp(until) {
    const { cursor } = this.feed;
    if (this.held || !cursor || !until || isCovered(until, cursor)) return;
    this.held = [];
    try {
      await this.readTo(until);
    } catch {
      // Asking at once would only fail again: the leading tab's next frame names anew
      // what is missing.
      this.held = [];
    }
    const { held } = this;
    this.held = null;
    for (const message of held) this.follow(message);
  }

  async readTo(until) {
    const { feed } = this;
    for (let more = true; more && !isCovered(until, feed.cursor); ) {
      const answer = await ask(feed.base, feed.query(feed.cursor));
      if (answer.reset) feed.deliver(answer.reset);
      for (const event of answer.events) feed.deliver(event);
      feed.ledger.reach(answer.last_event_id);
      more = answer.more;
    }
  }
}
