/**
 * What a reader of the feed has had: drops doubles, moves the cursor, and proves from
 * `previous` that nothing is missing. Knows no network and no DOM.
 */

/** True when `id` is at or before `cursor` in the same life of the log. */
export function isCovered(id, cursor) {
  if (!id || !cursor) return false;
  const [epoch, number] = id.split("-");
  const [otherEpoch, otherNumber] = cursor.split("-");
  return epoch === otherEpoch && BigInt(number) <= BigInt(otherNumber);
}

export class Ledger {
  /** `cursor` is an id, or null for a reader who begins with what the server says. */
  constructor(cursor = null) {
    this.lost = 0;
    this.startAt(cursor);
  }

  startAt(cursor) {
    this.start = this.cursor = cursor;
    this.latest = new Map();
  }

  /** Takes a frame into account; false for an event that this reader has had. */
  take(frame) {
    switch (frame.type) {
      case "event":
        return this.takeEvent(frame);
      case "reset":
        this.startAt(frame.last_event_id);
        return true;
      default:
        this.reach(frame.last_event_id);
        return true;
    }
  }

  takeEvent({ id, previous, topic }) {
    if (isCovered(id, this.cursor)) return false;
    if (!this.follows(previous, topic)) this.lost += 1;
    this.latest.set(topic, id);
    this.cursor = id;
    this.start ??= previous ?? id;
    return true;
  }

  /** True when the event before this one on its topic is the one that was had. */
  follows(previous, topic) {
    // The first that the log has of its topic, or has again: a topic whose events have all
    // been gone for long is forgotten, and who had missed one of them has been reset.
    if (previous === null) return true;
    if (this.latest.has(topic)) return previous === this.latest.get(topic);
    if (this.start === null) return true;
    return isCovered(previous, this.start);
  }

  reach(id) {
    if (!id || isCovered(id, this.cursor)) return;
    if (this.cursor === null) this.startAt(id);
    else this.cursor = id;
  }
}
