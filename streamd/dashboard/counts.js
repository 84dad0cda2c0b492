/** How often each value of a key is among the entries that the page has. */

import { textsOf } from "./values.js";

/** @typedef {import("./log.js").Entry} Entry */
/** @typedef {import("./values.js").Key} Key */

/** The counts of one key's values: exact, and no more of them than there are entries. */
export class Counts {
  /** @type {Map<string, number>} */
  #counts = new Map();
  /** @type {Key | null} */
  #key = null;

  /** The key that is counted. */
  get key() {
    return this.#key;
  }

  /** How many values there are. */
  get size() {
    return this.#counts.size;
  }

  /**
   * Count another key.
   *
   * @param {Key | null} key
   * @param {Iterable<Entry>} entries all that the page has
   */
  choose(key, entries) {
    this.#key = key;
    this.#counts.clear();
    for (const entry of entries) this.added(entry);
  }

  /**
   * Count an entry.
   *
   * @param {Entry} entry
   */
  added(entry) {
    this.#change(entry, 1);
  }

  /**
   * Count an entry no more.
   *
   * @param {Entry} entry
   */
  dropped(entry) {
    this.#change(entry, -1);
  }

  /**
   * Return the values that are most frequent, with their counts, the most frequent first.
   *
   * @param {number} length
   * @returns {[string, number][]}
   */
  top(length) {
    /** @type {[string, number][]} */
    const best = [];
    for (const counted of this.#counts) {
      if (best.length === length && !isBefore(counted, best[length - 1])) continue;
      const place = best.findIndex((other) => isBefore(counted, other));
      best.splice(place < 0 ? best.length : place, 0, counted);
      best.length = Math.min(best.length, length);
    }
    return best;
  }

  /**
   * @param {Entry} entry
   * @param {number} by
   */
  #change(entry, by) {
    if (!this.#key) return;
    for (const text of textsOf(entry.event, this.#key)) {
      const value = (this.#counts.get(text) ?? 0) + by;
      if (value > 0) this.#counts.set(text, value);
      else this.#counts.delete(text);
    }
  }
}

/**
 * @param {[string, number]} one
 * @param {[string, number]} other
 */
function isBefore(one, other) {
  // By text where the counts are equal, so that the bars do not jump.
  return one[1] > other[1] || (one[1] === other[1] && one[0] < other[0]);
}
