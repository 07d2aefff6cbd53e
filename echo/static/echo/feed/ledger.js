/**
 * A reader's record of the feed: drops duplicates, advances the cursor, and counts the
 * gaps in the chain of `previous`. Uses no network and no DOM.
 */

/** Return true if `id` is at or before `cursor`, in the same epoch of the log. */
export function isCovered(id, cursor) {
  if (!id || !cursor) return false;
  const [epoch, number] = id.split("-");
  const [otherEpoch, otherNumber] = cursor.split("-");
  return epoch === otherEpoch && BigInt(number) <= BigInt(otherNumber);
}

export class Ledger {
  /** `cursor` is an id, or null to begin where the server does. */
  constructor(cursor = null) {
    this.lost = 0; // gaps found in the chain of `previous`
    this.startAt(cursor);
  }

  startAt(cursor) {
    // Events at or before `start` were never due; `cursor` is the last id seen.
    this.start = this.cursor = cursor;
    this.latest = new Map(); // the id of the last event taken, by topic
  }

  /** Record a frame; return false for a duplicate event. */
  take(frame) {
    switch (frame.type) {
      case "event":
        return this.takeEvent(frame);
      case "reset":
        this.startAt(frame.last_event_id);
        return true;
      default:
        this.advance(frame.last_event_id);
        return true;
    }
  }

  takeEvent({ id, previous, topic }) {
    if (isCovered(id, this.cursor)) return false;
    if (!this.isChained(previous, topic)) this.lost += 1;
    this.latest.set(topic, id);
    this.cursor = id;
    return true;
  }

  /** Return true if `previous` is the last event taken on the topic. */
  isChained(previous, topic) {
    // The topic's first event, or its first since it was deleted with its pruned events: a
    // reader that missed one of those got a reset.
    if (previous === null) return true;
    if (this.latest.has(topic)) return previous === this.latest.get(topic);
    // It begins with the earliest events, and the server has not said yet where they begin.
    if (this.start === null) return true;
    return isCovered(previous, this.start);
  }

  /** Move the cursor forward to this id; no-op if it is there or beyond. */
  advance(id) {
    if (!id) return;
    this.start ??= id;
    if (!isCovered(id, this.cursor)) this.cursor = id;
  }
}
