/**
 * Measures round trips. An echo keeps the order: a received message is the echo of the
 * oldest outstanding one if both are the same; any other is not an echo.
 */

export const MAX_OUTSTANDING = 10_000;
// The median is of the latest round trips only, so that it shows the present.
const MAX_MEASURED = 101;

export class RoundTrips {
  constructor() {
    this.measured = []; // in milliseconds, the latest last
    this.reset();
  }

  /** Drop what is outstanding: a new connection echoes nothing of the old one. */
  reset() {
    this.outstanding = []; // `{message, now}` in the order sent; undefined before `head`
    this.head = 0; // the index of the oldest outstanding message
  }

  /** Record a message sent at `now` (ms). */
  sent(message, now) {
    if (this.outstanding.length - this.head >= MAX_OUTSTANDING) this.dropOldest();
    this.outstanding.push({ message, now });
  }

  /** Return the round trip in milliseconds of a message received at `now`, or null. */
  received(message, now) {
    const oldest = this.outstanding[this.head];
    if (!oldest || !isSame(oldest.message, message)) return null;
    this.dropOldest();
    const elapsed = now - oldest.now;
    this.measured.push(elapsed);
    if (this.measured.length > MAX_MEASURED) this.measured.shift();
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

/** Return true if both messages have the same type and content. */
export function isSame(one, other) {
  if (typeof one === "string" || typeof other === "string") return one === other;
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
