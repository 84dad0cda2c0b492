/**
 * What a feed has received and its reader has not taken yet. No I/O, no clock.
 *
 * @import { Entry } from "./values.js"
 */

import { PlaceLost } from "./errors.js";

export const MAX_ENTRIES = 1_000;
export const MAX_SIZE = 4 * 1024 * 1024; // characters

/** An entry that waits, and the length in characters of the frame it came in. */
class Waiting {
  /**
   * @param {Entry} entry
   * @param {number} size
   */
  constructor(entry, size) {
    this.entry = entry;
    this.size = size;
  }
}

/** Everything up to the cursor was before this point. */
class Mark {
  /** @param {string} cursor */
  constructor(cursor) {
    this.cursor = cursor;
  }
}

/**
 * Entries, progress marks and gaps in the order of the wire, and the two ends of the queue:
 * `position` is what has been received, `cursor` what the reader is done with.
 */
export class Inbox {
  /** @type {(Waiting | Mark | PlaceLost)[]} */
  #items = [];
  #entries = 0;
  #size = 0;
  /** @type {Entry | null} */
  #inHand = null;

  /** @param {string | null} [after] */
  constructor(after = null) {
    /** Where to subscribe from, so that nothing is missed or comes twice. */
    this.position = after;
    /**
     * The last entry that the reader has finished, or a later place without entries. "start" is a
     * wish and not a place.
     */
    this.cursor = after === "start" ? null : after;
  }

  /** How many entries wait. */
  get length() {
    return this.#entries;
  }

  /** Whether nothing is left to take, and what was taken is finished. */
  get done() {
    return this.#items.length === 0 && this.#inHand === null;
  }

  // In.

  /**
   * Whether an entry of `size` characters may wait here; an empty inbox takes any.
   *
   * @param {number} size
   * @returns {boolean}
   */
  hasRoom(size) {
    return this.#entries === 0 || (this.#entries < MAX_ENTRIES && this.#size + size <= MAX_SIZE);
  }

  /**
   * Add the next entry.
   *
   * @param {Entry} entry
   * @param {number} size
   */
  put(entry, size) {
    this.#items.push(new Waiting(entry, size));
    this.#entries += 1;
    this.#size += size;
    this.position = entry.cursor;
  }

  /**
   * Note that up to this place no further entry comes.
   *
   * @param {string} cursor
   */
  mark(cursor) {
    this.position = cursor;
    if (this.done) {
      this.cursor = cursor;
      return;
    }
    if (this.#items.at(-1) instanceof Mark) {
      this.#items.pop();
    }
    this.#items.push(new Mark(cursor));
  }

  /**
   * Note that what comes next does not join on to what came before.
   *
   * A gap that the reader has not seen yet swallows all that came after it, so that the inbox
   * stays small however often the place is lost.
   *
   * @param {PlaceLost} error
   */
  gap(error) {
    const last = this.#items.findLastIndex((item) => item instanceof PlaceLost);
    if (last >= 0) {
      this.#items.splice(last).forEach((item) => this.#uncount(item));
    }
    this.#items.push(error);
    this.position = null;
  }

  // Out.

  /**
   * Return the next entry or gap, null if there is none; what was taken before is finished.
   *
   * @returns {Entry | PlaceLost | null}
   */
  take() {
    if (this.#inHand !== null) {
      this.cursor = this.#inHand.cursor;
      this.#inHand = null;
    }
    for (;;) {
      const item = this.#items.shift();
      if (item === undefined) {
        return null;
      }
      if (item instanceof Waiting) {
        this.#uncount(item);
        this.#inHand = item.entry;
        return item.entry;
      }
      if (item instanceof PlaceLost) {
        return item;
      }
      this.cursor = item.cursor;
    }
  }

  /** Drop what waits; `cursor` stays. */
  clear() {
    this.#items = [];
    this.#entries = 0;
    this.#size = 0;
  }

  /** @param {Waiting | Mark | PlaceLost} item */
  #uncount(item) {
    if (item instanceof Waiting) {
      this.#entries -= 1;
      this.#size -= item.size;
    }
  }
}
