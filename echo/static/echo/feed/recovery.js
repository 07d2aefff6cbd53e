/**
 * Proves that an interruption lost nothing: compares the events that the log has after
 * the cursor with those that the feed brought. Uses no DOM.
 */

export class Recovery {
  interruption = null; // `{at, cursor, lost}` of its beginning
  received = null; // ids since then
  missed = null; // ids that the log has
  seconds = null; // until the feed was back

  /** Begin at this time (ms), cursor and count of gaps; no-op during an interruption. */
  begin(at, cursor, lost) {
    if (this.interruption) return;
    this.interruption = { at, cursor, lost };
    this.received = new Set();
    this.missed = null;
    this.seconds = null;
  }

  /** Record when the feed was back. */
  end(at) {
    if (this.interruption) this.seconds ??= (at - this.interruption.at) / 1000;
  }

  cancel() {
    this.interruption = this.received = this.missed = null;
  }

  /** Record an event that the feed brought. */
  receive(id) {
    this.received?.add(id);
  }

  /** Set the events that the log has after the cursor. */
  expect(ids) {
    this.missed = ids;
  }

  /**
   * Return `{seconds, recovered, lost}` once all missed events have come, null before.
   * `lost` is the feed's count of gaps now.
   */
  report(lost) {
    if (!this.interruption || !this.missed) return null;
    if (!this.missed.every((id) => this.received.has(id))) return null;
    const report = {
      seconds: this.seconds,
      recovered: this.missed.length,
      lost: lost - this.interruption.lost,
    };
    this.cancel();
    return report;
  }
}
