/**
 * Messages that were sent, and walking back through them. Knows no DOM and no storage.
 */

export const MAX_ENTRIES = 100;
// localStorage holds 5 MB for the whole site.
export const MAX_CHARACTERS = 20_000;

export class History {
  /** `entries` are `{format, text}`, the oldest first. */
  constructor(entries = []) {
    this.entries = entries;
    this.leave();
  }

  /**
   * Adds what was sent; a repeat of the latest, and what is too long to keep, is left
   * out.
   */
  push(entry) {
    const latest = this.entries.at(-1);
    const isRepeat = latest?.text === entry.text && latest?.format === entry.format;
    if (!isRepeat && entry.text.length <= MAX_CHARACTERS) this.entries.push(entry);
    if (this.entries.length > MAX_ENTRIES) this.entries.shift();
    this.leave();
  }

  /** The entry before the one shown; what was being typed is kept for the way back. */
  previous(typed) {
    if (this.at === 0) return null;
    if (this.at === this.entries.length) this.typed = typed;
    return this.entries[--this.at];
  }

  /**
   * The entry after the one shown, at last what was being typed; null when there
   * already.
   */
  next() {
    if (this.at === this.entries.length) return null;
    this.at += 1;
    return this.entries[this.at] ?? this.typed;
  }

  /** Stands after the latest entry again. */
  leave() {
    this.at = this.entries.length;
    this.typed = null;
  }
}
