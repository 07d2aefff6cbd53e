/**
 * What became of the events that were published while this page could not hear: how
 * many came afterwards, and how many are missing. Knows no DOM.
 */

export class Recovery {
  /** `at` in milliseconds, the cursor of that moment, and the losses so far. */
  begin(at, cursor, lost) {
    if (this.begun) return;
    this.begun = { at, cursor, lost };
    this.seen = new Set();
    this.missed = null;
    this.seconds = null;
  }

  /** The feed is heard again. */
  end(at) {
    if (this.begun) this.seconds ??= (at - this.begun.at) / 1000;
  }

  saw(id) {
    this.seen?.add(id);
  }

  /** What the log has after the cursor: all of it has to come. */
  expect(ids) {
    this.missed = ids;
  }

  /**
   * `{seconds, recovered, lost}`, once all that was missed has come, or null before;
   * `lostNow` is how often the chain of `previous` has been broken.
   */
  report(lostNow) {
    if (!this.begun || !this.missed?.every((id) => this.seen.has(id))) return null;
    const report = {
      seconds: this.seconds,
      recovered: this.missed.length,
      lost: lostNow - this.begun.lost,
    };
    this.begun = this.seen = this.missed = null;
    return report;
  }
}
