/** The messages sent before, to go back through. Uses no DOM and no storage. */

export const MAX_ENTRIES = 100;
// localStorage holds 5 MB for the whole site.
export const MAX_CHARACTERS = 20_000;

export class MessageHistory {
  /** `entries` are `{format, text}`, the oldest first. */
  constructor(entries = []) {
    this.entries = entries; // kept in storage by the composer
    this.leave();
  }

  /** Add a sent message, unless it repeats the latest or is too long to keep. */
  push(entry) {
    const latest = this.entries.at(-1);
    const isRepeat = latest?.text === entry.text && latest?.format === entry.format;
    if (!isRepeat && entry.text.length <= MAX_CHARACTERS) this.entries.push(entry);
    if (this.entries.length > MAX_ENTRIES) this.entries.shift();
    this.leave();
  }

  /** Return the entry before the current one, or null; `draft` is kept for `next`. */
  previous(draft) {
    if (this.index === 0) return null;
    if (this.index === this.entries.length) this.draft = draft;
    return this.entries[--this.index];
  }

  /** Return the entry after the current one, the draft after the latest, then null. */
  next() {
    if (this.index === this.entries.length) return null;
    this.index += 1;
    return this.entries[this.index] ?? this.draft;
  }

  /** Return to after the latest entry. */
  leave() {
    this.index = this.entries.length; // of the entry shown
    this.draft = null; // what was typed when the reader went back
  }
}
