/**
 * Shares one connection among a browser's tabs: the leader broadcasts each frame it
 * receives, and the followers deliver them as complete and ordered as their own
 * connection would.
 *
 * When the server ends a feed, all tabs are ended, and stay so when the leader's tab
 * closes; opening the feed again in any tab opens it in all.
 */

import { Election } from "./election.js";
import { isCovered } from "./ledger.js";
import { pollOnce } from "./transports/polling.js";

/** Return true for a state that a feed does not leave by itself. */
export function isEnded(state) {
  return state === "closed" || state === "refused";
}

export class Tabs {
  /** A leader that broadcasts nothing for `silenceMs` is replaced. */
  constructor(feed, name, silenceMs) {
    this.feed = feed;
    this.silenceMs = silenceMs;
    // Until this tab has been leader, or knows the leader's state.
    this.isNew = true;
    this.held = null; // the leader's frames that wait for `catchUp`, while it runs
    this.election = new Election(name, {
      elected: () => this.handleElected(),
      message: (message) => this.receive(message),
      deposed: () => this.handleDeposed(),
    });
    this.requestState();
    this.restartLeaderTimer();
  }

  get isLeader() {
    return this.election.isLeader;
  }

  /** Send a message to the followers; no-op in a follower. */
  broadcast(message) {
    if (this.isLeader) this.election.post(message);
  }

  /** Broadcast the feed's state: `type` is state, or state-reply to a request. */
  broadcastState(type) {
    const { cursor, detail } = this.feed;
    this.broadcast({ type, cursor, detail });
  }

  /** Have the leader drop the connection. */
  cut() {
    this.election.post({ type: "cut" });
  }

  leave() {
    clearTimeout(this.leaderTimer);
    this.election.leave();
  }

  // --- who is the leader ----------------------------------------------------------------

  handleElected() {
    clearTimeout(this.leaderTimer);
    this.isNew = false;
    if (!this.feed.isEnded) return this.feed.connect();
    // A tab may have requested it while there was no leader.
    return this.broadcastState("state-reply");
  }

  handleDeposed() {
    this.feed.disconnect();
    this.requestState();
    this.restartLeaderTimer();
  }

  requestState() {
    this.election.post({ type: "state-request" });
  }

  /** Replace the leader unless it broadcasts in time. */
  restartLeaderTimer(extraMs = 0) {
    clearTimeout(this.leaderTimer);
    if (this.feed.isEnded) return;
    const milliseconds = this.silenceMs + extraMs;
    this.leaderTimer = setTimeout(() => this.election.steal(), milliseconds);
  }

  // --- messages between tabs ------------------------------------------------------------

  receive(message) {
    if (this.isLeader) this.receiveAsLeader(message);
    else this.receiveAsFollower(message);
  }

  receiveAsLeader({ type }) {
    if (type === "cut") this.feed.cut();
    if (type === "state-request") this.broadcastState("state-reply");
  }

  receiveAsFollower(message) {
    switch (message.type) {
      case "frame":
        this.restartLeaderTimer();
        return this.follow(message);
      case "state":
        return this.applyState(message);
      case "state-reply":
        return this.receiveReply(message);
      default:
        return undefined; // for the leader
    }
  }

  receiveReply(message) {
    const { state, transport } = message.detail;
    // This tab has just been opened: read the feed, although it has ended in the others.
    if (this.isNew && isEnded(state)) return this.election.steal();
    // Every tab receives the reply, also those that did not request it.
    const isChange = state !== this.feed.state || transport !== this.transport;
    return isChange ? this.applyState(message) : undefined;
  }

  applyState({ cursor, detail }) {
    this.isNew = false;
    this.transport = detail.transport;
    this.feed.setState(detail.state, detail);
    this.restartLeaderTimer(detail.milliseconds);
    return this.catchUp(cursor);
  }

  // --- frames of the leader -------------------------------------------------------------

  /** Deliver a frame of the leader, after any events before it that this tab missed. */
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

  /** Poll for the events up to this id; hold the leader's frames back meanwhile. */
  async catchUp(until) {
    const { cursor } = this.feed;
    if (this.held || !cursor || !until || isCovered(until, cursor)) return;
    this.held = [];
    try {
      await this.pollUntil(until);
    } catch {
      // Polling again at once would only fail again: the leader's next frame shows the
      // gap anew.
      this.held = [];
    }
    const { held } = this;
    this.held = null;
    for (const message of held) this.follow(message);
  }

  async pollUntil(until) {
    const { feed } = this;
    for (let more = true; more && !isCovered(until, feed.cursor); ) {
      const batch = await pollOnce(feed.base, feed.query(feed.cursor));
      if (batch.reset) feed.deliver(batch.reset);
      for (const event of batch.events) feed.deliver(event);
      feed.ledger.advance(batch.last_event_id);
      more = batch.more;
    }
  }
}
