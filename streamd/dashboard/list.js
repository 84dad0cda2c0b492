/** The list: of all the entries in the log, only the rows that are on screen, and a few more. */

import { Row, clickedTerm } from "./row.js";

/** @typedef {import("./log.js").Log} Log */
/** @typedef {import("./log.js").Item} Item */
/** @typedef {import("./row.js").Look} Look */

const BEYOND = 8;
const NEAR = 30;
const FEW = 2;

/**
 * @typedef {object} ListOptions
 * @property {HTMLElement} scroller what scrolls
 * @property {HTMLElement} feed what is as high as all rows would be
 * @property {HTMLElement} rows what holds those that there are
 * @property {HTMLElement} tail the line below the oldest entry
 * @property {Log} log
 * @property {Look} look
 * @property {() => number} now milliseconds since 1970, by the server's clock
 * @property {() => void} repaint called when a frame is needed
 * @property {(item: Item) => void} onOpen called with the entry to show as a whole
 * @property {(term: import("./values.js").Term) => void} onTerm called with the chip clicked
 */

/** The view of a log. */
export class List {
  /** Whether a row is being read by keyboard. */
  reading = false;

  #options;
  /** @type {Row[]} in the order of the screen, the newest first */
  #rows = [];
  /** @type {Row[]} */
  #spare = [];
  #rowHeight = 32;
  #height = 0;
  #generation = -1;
  /** The number of the newest item that was painted, from which on others are fresh. */
  #painted = Infinity;
  /** The number of the row that keys move from; null for the newest. @type {number | null} */
  #active = null;

  /** @param {ListOptions} options */
  constructor(options) {
    this.#options = options;
    const { scroller, feed } = options;
    scroller.addEventListener("scroll", options.repaint, { passive: true });
    new ResizeObserver(() => this.#measure()).observe(scroller);
    feed.addEventListener("click", (event) => this.#click(event));
    feed.addEventListener("focusin", (event) => this.#focus(event));
    feed.addEventListener("focusout", (event) => this.#blur(event));
    this.#measure();
  }

  /** Whether the reader has left the newest entry. */
  get isScrolled() {
    return this.#options.scroller.scrollTop > this.#rowHeight / 2;
  }

  /** Whether the oldest entries are about to be reached. */
  get isNearEnd() {
    const below = this.#options.log.size * this.#rowHeight - this.#options.scroller.scrollTop;
    return below < this.#height + NEAR * this.#rowHeight;
  }

  /** The item that keys move from; undefined when there is none. */
  get active() {
    const { log } = this.#options;
    return log.at(this.#active ?? log.newest);
  }

  /** Show what is to be seen now. */
  paint() {
    const { log, feed, rows, tail, scroller } = this.#options;
    if (this.#generation !== log.generation) this.#forget();
    const first = this.#clamp(Math.floor(scroller.scrollTop / this.#rowHeight) - BEYOND);
    const last = this.#clamp(first + Math.ceil(this.#height / this.#rowHeight) + 2 * BEYOND);
    feed.style.height = `${log.size * this.#rowHeight}px`;
    rows.style.transform = `translateY(${first * this.#rowHeight}px)`;
    this.#show(log.newest - first, log.newest - last + 1);
    this.#painted = log.newest;
    tail.hidden = last < log.size;
    this.#mark();
  }

  /** Show how long ago everything is now, and where it stands. */
  tick() {
    const now = this.#options.now();
    for (const row of this.#rows) row.tick(now);
    this.#place();
  }

  /** Fill all rows anew: what they show is looked at in another way. */
  refresh() {
    this.#generation = -1;
    this.#options.repaint();
  }

  /** Go back to the newest entry. */
  toNewest() {
    this.#active = null;
    this.#options.scroller.scrollTop = 0;
    this.#options.repaint();
  }

  /** Leave the row that is being read. */
  leave() {
    if (this.#options.feed.contains(document.activeElement)) this.#options.scroller.focus();
    this.#active = null;
    this.reading = false;
    this.#options.repaint();
  }

  /**
   * Keep the same entries on screen after the newest ones have left the list.
   *
   * @param {number} cut how many
   */
  follow(cut) {
    if (cut) this.#options.scroller.scrollTop -= cut * this.#rowHeight;
  }

  /**
   * Return the number of the item so many rows further down.
   *
   * @param {number} by
   */
  next(by) {
    return (this.#active ?? this.#options.log.newest + Math.sign(by)) - by;
  }

  /** The rows that fit on the screen. */
  get pageLength() {
    return Math.max(1, Math.floor(this.#height / this.#rowHeight) - 1);
  }

  /**
   * Go to a row, bring it on screen and give it the focus.
   *
   * @param {number} number of the item; the nearest that there is
   */
  goTo(number) {
    const { log, scroller } = this.#options;
    if (!log.size) return;
    this.#active = Math.max(log.oldest, Math.min(log.newest, number));
    const top = (log.newest - this.#active) * this.#rowHeight;
    const lowest = top + this.#rowHeight - this.#height;
    if (scroller.scrollTop > top) scroller.scrollTop = top;
    else if (scroller.scrollTop < lowest) scroller.scrollTop = lowest;
    this.paint();
    this.#focusActive();
    this.reading = true;
  }

  /** Give the active row the focus; the list, when it is not on screen. */
  #focusActive() {
    const number = this.#active ?? this.#options.log.newest;
    const row = this.#rows.find((each) => each.number === number);
    (row?.element ?? this.#options.scroller).focus({ preventScroll: true });
  }

  // Rows.

  /**
   * Let the rows be those of these numbers, and as few of them as can be filled anew.
   *
   * @param {number} newest
   * @param {number} oldest
   */
  #show(newest, oldest) {
    const { rows } = this.#options;
    while (this.#rows.length && this.#rows[0].number > newest) this.#put(this.#rows.shift());
    while (this.#rows.length && this.#rows[this.#rows.length - 1].number < oldest) {
      this.#put(this.#rows.pop());
    }
    let above = (this.#rows[0]?.number ?? oldest - 1) + 1;
    for (; above <= newest; above++) {
      const row = this.#take(above);
      rows.prepend(row.element);
      this.#rows.unshift(row);
    }
    let below = this.#rows[this.#rows.length - 1]?.number ?? oldest;
    for (below--; below >= oldest; below--) {
      const row = this.#take(below);
      rows.append(row.element);
      this.#rows.push(row);
    }
    for (const row of this.#spare) row.element.remove();
  }

  /** @param {Row | undefined} row */
  #put(row) {
    if (!row) return;
    // A reader keeps a place to go on from, though not that of another entry.
    if (row.element.contains(document.activeElement)) {
      this.#options.scroller.focus({ preventScroll: true });
    }
    this.#spare.push(row);
  }

  /** @param {number} number */
  #take(number) {
    const { log, look, now } = this.#options;
    const row = this.#spare.pop() ?? new Row();
    const item = log.at(number);
    if (!item) throw new RangeError(`the log has no item ${number}`);
    row.fill(number, item, look, now());
    row.place(log.newest - number + 1, log.before === null ? log.size : -1);
    if (number > this.#painted && log.newest - this.#painted <= FEW) row.flash();
    return row;
  }

  #forget() {
    const { log } = this.#options;
    const isSameLog = this.#generation === -1;
    if (!isSameLog || (this.#active !== null && !log.at(this.#active))) this.#active = null;
    this.#generation = log.generation;
    this.#painted = Infinity;
    for (const row of this.#rows.splice(0)) this.#put(row);
  }

  #place() {
    const { log } = this.#options;
    const size = log.before === null ? log.size : -1;
    for (const row of this.#rows) row.place(log.newest - row.number + 1, size);
  }

  #mark() {
    const number = this.#active ?? this.#options.log.newest;
    for (const row of this.#rows) {
      row.activate(row.number === number);
      row.element.classList.toggle("active", row.number === this.#active);
    }
  }

  /** @param {number} index */
  #clamp(index) {
    return Math.max(0, Math.min(this.#options.log.size, index));
  }

  #measure() {
    const { scroller, feed, repaint } = this.#options;
    const first = scroller.scrollTop / this.#rowHeight;
    const height = parseFloat(getComputedStyle(feed).getPropertyValue("--row")) || this.#rowHeight;
    this.#height = scroller.clientHeight;
    if (height !== this.#rowHeight) {
      this.#rowHeight = height;
      scroller.scrollTop = first * height;
    }
    repaint();
  }

  // What the reader does.

  /** @param {MouseEvent} event */
  #click(event) {
    const term = clickedTerm(event.target);
    if (term) {
      this.#options.onTerm(term);
      return;
    }
    const row = this.#rowOf(event.target);
    const isSelecting = getSelection()?.type === "Range" && event.detail > 0;
    if (!row?.item?.entry || isSelecting) return;
    this.#active = row.number;
    // By mouse nobody reads on from this row: the list goes on when what was opened is closed.
    if (event.detail > 0) this.#options.scroller.focus({ preventScroll: true });
    this.#options.onOpen(row.item);
    this.#options.repaint();
  }

  /** @param {FocusEvent} event */
  #focus(event) {
    const row = this.#rowOf(event.target);
    if (!row || !/** @type {Element} */ (event.target).matches(":focus-visible")) return;
    this.#active = row.number;
    this.reading = true;
    this.#options.repaint();
  }

  /** @param {FocusEvent} event */
  #blur(event) {
    const { feed, repaint } = this.#options;
    const to = event.relatedTarget;
    // A dialog gives the focus back to the row.
    if (to instanceof Element && (feed.contains(to) || to.closest("dialog"))) return;
    this.reading = false;
    repaint();
  }

  /** @param {EventTarget | null} target */
  #rowOf(target) {
    const element = target instanceof Element ? target.closest(".row") : null;
    return this.#rows.find((row) => row.element === element);
  }
}
