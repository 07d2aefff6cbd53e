/** What an operator has selected in a list whose rows come and go. */

export class Selection {
  /** Ids that have been selected; those that leave the list are remembered. */
  chosen = new Set();
  /** Ids that the page shows, in its order. */
  listed = [];
  /** True for all that match, on whichever page. */
  isAll = false;

  /** The page shows these ids now. */
  list(ids) {
    this.listed = ids;
  }

  has(id) {
    return this.isAll || this.chosen.has(id);
  }

  /** Selecting one row by hand ends the selection of all that match, and forgets the gone. */
  choose(id, isChosen) {
    if (this.isAll) this.choosePage(true);
    if (isChosen) this.chosen.add(id);
    else this.chosen.delete(id);
    this.forgetGone();
  }

  choosePage(isChosen) {
    this.isAll = false;
    this.chosen = new Set(isChosen ? this.listed : []);
  }

  chooseAll() {
    this.isAll = true;
  }

  clear() {
    this.choosePage(false);
  }

  forgetGone() {
    this.chosen = new Set(this.listed.filter((id) => this.chosen.has(id)));
  }

  /** How many of the page's rows are selected. */
  get count() {
    return this.listed.filter((id) => this.has(id)).length;
  }

  /** How many were selected and are no longer listed. */
  get gone() {
    if (this.isAll) return 0;
    const listed = new Set(this.listed);
    return [...this.chosen].filter((id) => !listed.has(id)).length;
  }

  get isWholePage() {
    return this.listed.length > 0 && this.count === this.listed.length;
  }

  /** True while rows should stay where they are. */
  get isHeld() {
    return !this.isAll && this.count > 0;
  }
}
