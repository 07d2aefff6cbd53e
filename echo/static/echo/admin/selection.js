/** An operator's selection in a list whose rows come and go. Uses no DOM. */

export class Selection {
  /** Ids that were selected, also those that have left the list. */
  chosen = new Set();
  /** Ids of the rows listed now, in order. */
  listed = [];
  /** True if all matching rows are selected, also those that are not listed. */
  isAll = false;

  /** Set the rows listed now. */
  list(ids) {
    this.listed = ids;
  }

  has(id) {
    return this.isAll || this.chosen.has(id);
  }

  /** Select or deselect one row; this ends the selection of all matching rows. */
  choose(id, isChosen) {
    if (this.isAll) this.chooseListed(true);
    if (isChosen) this.chosen.add(id);
    else this.chosen.delete(id);
    this.dropUnlisted();
  }

  chooseListed(isChosen) {
    this.isAll = false;
    this.chosen = new Set(isChosen ? this.listed : []);
  }

  chooseAll() {
    this.isAll = true;
  }

  clear() {
    this.chooseListed(false);
  }

  dropUnlisted() {
    this.chosen = new Set(this.listed.filter((id) => this.chosen.has(id)));
  }

  /** The number of listed rows that are selected. */
  get count() {
    return this.listed.filter((id) => this.has(id)).length;
  }

  /** The number of selected rows that have left the list. */
  get gone() {
    if (this.isAll) return 0;
    const listed = new Set(this.listed);
    return [...this.chosen].filter((id) => !listed.has(id)).length;
  }

  get isEveryListed() {
    return this.listed.length > 0 && this.count === this.listed.length;
  }

  /** True if rows should keep their place in the list. */
  get isHeld() {
    return !this.isAll && this.count > 0;
  }
}
