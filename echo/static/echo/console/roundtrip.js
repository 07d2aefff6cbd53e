/**
 * Measures round trips: an echo answers in order, so an answer belongs to the oldest
 * message that is still out, if it is the same message. Anything else was not asked
 * for.
 */

import { isSame } from "./payload.js";

export const MAX_OUTSTANDING = 10_000;
// The median is of the latest ones: an instrument shows what is, not what was.
const MEASURED = 101;

export class RoundTrips {
  constructor() {
    this.measured = [];
    this.reset();
  }

  /** Forgets what is still out: a new connection answers nothing of the old one. */
  reset() {
    this.outstanding = [];
    this.head = 0;
  }

  /** Notes a message that went out at `now` (ms). */
  sent(message, now) {
    if (this.outstanding.length - this.head >= MAX_OUTSTANDING) this.dropOldest();
    this.outstanding.push({ message, now });
  }

  /** The round trip in milliseconds of the message that has come back, or null. */
  received(message, now) {
    const oldest = this.outstanding[this.head];
    if (!oldest || !isSame(oldest.message, message)) return null;
    this.dropOldest();
    const elapsed = now - oldest.now;
    this.measured.push(elapsed);
    if (this.measured.length > MEASURED) this.measured.shift();
    return elapsed;
  }

  dropOldest() {
    this.outstanding[this.head++] = undefined;
    if (this.head * 2 > this.outstanding.length) {
      this.outstanding = this.outstanding.slice(this.head);
      this.head = 0;
    }
  }

  /** The median of the latest round trips in milliseconds, or null. */
  get median() {
    const sorted = this.measured.toSorted((one, other) => one - other);
    return sorted[sorted.length >> 1] ?? null;
  }
}
