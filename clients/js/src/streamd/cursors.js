/**
 * Where a feed's cursor is kept between two visits.
 *
 * @import { Environment } from "./environment.js"
 */

const SAVE_EVERY = 1_000; // milliseconds

/**
 * A place to keep one cursor. `load` may return a promise, and so may `save`, which is not waited
 * for. What they throw is ignored: a feed without a stored place is better than none.
 *
 * @typedef {object} Cursors
 * @property {() => string | null | Promise<string | null>} load
 * @property {(cursor: string) => unknown} save
 */

/**
 * Return a store that keeps the cursor in the browser's `localStorage`.
 *
 * @param {string} name the item's name; one for each feed
 * @returns {Cursors}
 */
export function localStorageCursors(name) {
  return {
    load: () => localStorage.getItem(name),
    save: (cursor) => localStorage.setItem(name, cursor),
  };
}

/** Saves a feed's cursor, at most once a second, and when the page goes. */
export class Keeper {
  #cursors;
  #environment;
  #cursor;
  /** @type {string | null} */
  #saved = null;
  /** @type {unknown} */
  #timer = null;

  /**
   * @param {Cursors} cursors
   * @param {Environment} environment
   * @param {() => string | null} cursor returns what is finished by now
   */
  constructor(cursors, environment, cursor) {
    this.#cursors = cursors;
    this.#environment = environment;
    this.#cursor = cursor;
  }

  /**
   * Return the stored cursor, null where there is none by the deadline.
   *
   * @param {number} timeout milliseconds
   * @returns {Promise<string | null>}
   */
  async load(timeout) {
    const { setTimeout, clearTimeout, page } = this.#environment;
    page.addEventListener?.("pagehide", this.flush);
    /** @type {Promise<null>} */
    const late = new Promise((resolve) => {
      this.#timer = setTimeout(() => resolve(null), timeout);
    });
    try {
      const cursor = await Promise.race([this.#cursors.load(), late]);
      this.#saved = typeof cursor === "string" ? cursor : null;
    } catch {
      this.#saved = null;
    }
    clearTimeout(this.#timer);
    this.#timer = null;
    return this.#saved;
  }

  /** Note that the cursor may have moved. */
  touch() {
    this.#timer ??= this.#environment.setTimeout(this.flush, SAVE_EVERY);
  }

  /** Save now what is not saved yet. */
  flush = () => {
    this.#environment.clearTimeout(this.#timer);
    this.#timer = null;
    const cursor = this.#cursor();
    if (cursor === null || cursor === this.#saved) {
      return;
    }
    this.#saved = cursor;
    try {
      Promise.resolve(this.#cursors.save(cursor)).catch(() => {});
    } catch {
      // The next one may be taken.
    }
  };

  /** Save, and look at the page no more. Idempotent. */
  stop() {
    this.flush();
    this.#environment.page.removeEventListener?.("pagehide", this.flush);
  }
}
