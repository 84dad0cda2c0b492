/**
 * What the page knows of the log: one contiguous run of the entries that match the filter.
 *
 * The upper part of it, what came while the list is held, waits. Both parts are bounded: the shown
 * one loses entries at the end that is further from the reader, the waiting one its oldest. What
 * was lost is asked for again, from the place that `before` tells.
 */

import { Run } from "./run.js";
import { weigh } from "./values.js";

const OVERHEAD = 200;

/** @typedef {{cursor: string, time: number, event: Record<string, unknown>}} Entry */
/** @typedef {{entry: Entry | null, gap: string, weight: number}} Item an entry, or a sentence */
/** @typedef {{entries: readonly Entry[], before: string | null}} Page newest first */

/**
 * @typedef {object} Bounds
 * @property {number} [shown] most items in the list
 * @property {number} [waiting] most items that wait
 * @property {number} [bytes] about the most memory of each of the two
 */

/**
 * @typedef {object} Watcher who counts what is here
 * @property {(entry: Entry) => void} added
 * @property {(entry: Entry) => void} dropped
 */

/** The run of entries. */
export class Log {
  /** Changes when the list shows something else altogether: no number means what it meant. */
  generation = 0;
  /** How many came while the list was held, kept or not. */
  fresh = 0;
  /** The place to page back from: null is the beginning. @type {string | null} */
  before = null;

  /** @type {Run<Item>} */
  #shown = new Run();
  /** @type {Run<Item>} */
  #waiting = new Run();
  #held = false;
  /** Whether entries are missing between the two parts. */
  #broken = false;
  #bounds;
  #watcher;

  /**
   * @param {Bounds} [bounds]
   * @param {Watcher} [watcher]
   */
  constructor({ shown = 20_000, waiting = 10_000, bytes = 64 << 20 } = {}, watcher) {
    this.#bounds = { shown, waiting, bytes };
    this.#watcher = watcher;
  }

  /** How many items the list has. */
  get size() {
    return this.#shown.size;
  }

  /** The number of the newest item in the list; each further one has the next. */
  get newest() {
    return this.#shown.newest;
  }

  /** The number of the oldest item in the list. */
  get oldest() {
    return this.#shown.oldest;
  }

  /** Whether the list stands still. */
  get held() {
    return this.#held;
  }

  /** How many items wait. */
  get waiting() {
    return this.#waiting.size;
  }

  /**
   * Return an item of the list by its number, undefined when it is not there.
   *
   * @param {number} number
   */
  at(number) {
    return this.#shown.at(number);
  }

  /** @returns {Generator<Entry>} the entries of both parts, the oldest first */
  *entries() {
    for (const run of [this.#shown, this.#waiting]) {
      for (const { entry } of run) if (entry) yield entry;
    }
  }

  // What comes.

  /**
   * Begin anew with a page of history, which what is added next continues.
   *
   * @param {Page} page
   */
  start(page) {
    this.clear();
    this.older(page);
  }

  /** Forget everything. */
  clear() {
    for (const entry of this.entries()) this.#watcher?.dropped(entry);
    this.#shown = new Run();
    this.#waiting = new Run();
    this.#broken = false;
    this.fresh = 0;
    this.before = null;
    this.generation++;
  }

  /**
   * Add an entry that is newer than all others.
   *
   * @param {Entry} entry
   */
  add(entry) {
    this.#push(itemOf(entry));
    if (this.#held) this.fresh++;
  }

  /**
   * Add a line that says that entries may be missing.
   *
   * @param {string} sentence
   */
  addGap(sentence) {
    this.#push({ entry: null, gap: sentence, weight: OVERHEAD });
  }

  /**
   * Add a page of what is older than all others, and return how many of the newest items had to
   * leave the list for it.
   *
   * @param {Page} page
   */
  older(page) {
    for (const entry of page.entries) {
      this.#shown.unshift(itemOf(entry));
      this.#watcher?.added(entry);
    }
    this.before = page.before;
    if (this.#held) return this.#cutNewest();
    this.#cutOldest();
    return 0;
  }

  // Holding still.

  /** Let the list stand still: what comes waits. */
  hold() {
    this.#held = true;
  }

  /** Let the list go on with what waits; what was shown leaves it if any between is missing. */
  release() {
    this.#held = false;
    this.fresh = 0;
    if (this.#broken) this.#replace();
    else for (const item of this.#waiting) this.#shown.push(item);
    this.#waiting = new Run();
    this.#cutOldest();
  }

  #replace() {
    for (const item of this.#shown) this.#leave(item);
    this.#shown = this.#waiting;
    this.#broken = false;
    this.#beginAtEntry();
    this.generation++;
  }

  // Keeping to the bounds.

  /** @param {Item} item */
  #push(item) {
    if (item.entry) this.#watcher?.added(item.entry);
    if (this.#held) {
      this.#waiting.push(item);
      this.#cutWaiting();
    } else {
      this.#shown.push(item);
      this.#cutOldest();
    }
  }

  #cutOldest() {
    if (!this.#isOver(this.#shown, this.#bounds.shown)) return;
    while (this.#isOver(this.#shown, this.#bounds.shown)) this.#leave(this.#shown.shift());
    this.#beginAtEntry();
  }

  #cutNewest() {
    const { newest } = this;
    while (this.#isOver(this.#shown, this.#bounds.shown)) {
      const item = this.#shown.pop();
      if (this.#broken) this.#leave(item);
      else this.#waiting.unshift(item);
    }
    this.#cutWaiting();
    return newest - this.newest;
  }

  #cutWaiting() {
    while (this.#isOver(this.#waiting, this.#bounds.waiting)) {
      this.#leave(this.#waiting.shift());
      this.#broken = true;
    }
  }

  /** Let the list begin at an entry, whose place is one to page back from; a gap has none. */
  #beginAtEntry() {
    while (this.#shown.size && !this.#shown.at(this.oldest)?.entry) this.#shown.shift();
    this.before = this.#shown.at(this.oldest)?.entry?.cursor ?? this.before;
  }

  /**
   * @param {Run<Item>} run
   * @param {number} most
   */
  #isOver(run, most) {
    // The newest stays, however large it is.
    return run.size > 1 && (run.size > most || run.weight > this.#bounds.bytes);
  }

  /** @param {Item} item */
  #leave({ entry }) {
    if (entry) this.#watcher?.dropped(entry);
  }
}

/** @param {Entry} entry */
function itemOf(entry) {
  return { entry, gap: "", weight: weigh(entry.event) + OVERHEAD };
}
