/**
 * A feed to be read with `for await`.
 *
 * @import { StreamdError } from "./errors.js"
 * @import { Callbacks } from "./feed.js"
 * @import { Entry } from "./values.js"
 * @import { PlaceLost } from "./errors.js"
 */

import { Feed } from "./feed.js";

/**
 * What the feed offers, and what lets it go on.
 *
 * @typedef {{entry: Entry} | {error: unknown}} Outcome
 * @typedef {{outcome: Outcome, finish: () => void}} Offer
 *
 * Who waits for it.
 *
 * @typedef {object} Reader
 * @property {(result: IteratorResult<Entry, undefined>) => void} resolve
 * @property {(error: unknown) => void} reject
 */

/**
 * The entries that match a filter, oldest first, from the past into the future without a gap.
 *
 * Made by `Client.iterate`; read by one loop at a time. Iterating throws `PlaceLost` where entries
 * may have been missed, unless `onGap` was given; iterate again to go on with the newest entries.
 * Any other error is the end, and is thrown again by every further attempt. Leaving the loop
 * otherwise closes the feed.
 *
 * @implements {AsyncIterableIterator<Entry>}
 */
export class Iteration {
  #feed;
  #onGap;
  /** @type {Offer | null} */
  #offer = null;
  /** Lets the feed go on behind what was taken. @type {(() => void) | null} */
  #finish = null;
  /** @type {Reader | null} */
  #reader = null;
  /** @type {{error: StreamdError | null} | null} */
  #end = null;

  /**
   * @param {(callbacks: Callbacks) => Feed} open
   * @param {((gap: PlaceLost) => unknown) | undefined} onGap
   */
  constructor(open, onGap) {
    this.#onGap = onGap;
    this.#feed = open({
      onEntry: (entry) => this.#offered({ entry }),
      onGap: (gap) => this.#gap(gap),
      onState: (state, error) => state === "closed" && this.#ended(error),
    });
  }

  // What it tells.

  /**
   * The place to store, and to give as `after` tomorrow; null before the first one.
   *
   * It is the last entry whose loop body has finished: it moves when the next one is asked for,
   * and with the server's progress while nothing waits.
   */
  get cursor() {
    return this.#feed.cursor;
  }

  /** What to give to `Client.history` for the entries older than the last backfill, or null. */
  get before() {
    return this.#feed.before;
  }

  /** Where the feed stands. */
  get state() {
    return this.#feed.state;
  }

  /** Whether everything up to now has been received. */
  get live() {
    return this.#feed.live;
  }

  // Reading.

  /** Go on where the last iteration stopped. */
  [Symbol.asyncIterator]() {
    return this;
  }

  /**
   * Return the next entry; the one before it is finished now.
   *
   * @returns {Promise<IteratorResult<Entry, undefined>>}
   */
  async next() {
    if (this.#reader !== null) {
      throw new TypeError("the next entry of this feed is waited for already");
    }
    this.#finish?.();
    this.#finish = null;
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
      this.#serve();
    });
  }

  /**
   * Close the feed. What was in hand does not count as finished.
   *
   * @returns {Promise<IteratorReturnResult<undefined>>}
   */
  async return() {
    this.#feed.close();
    return { done: true, value: undefined };
  }

  /** Give the reader what is there for him: an offer of the feed, or else its end. */
  #serve() {
    if (this.#reader === null || (this.#offer === null && this.#end === null)) {
      return;
    }
    const { resolve, reject } = this.#reader;
    this.#reader = null;
    if (this.#offer !== null) {
      const { outcome, finish } = this.#offer;
      this.#offer = null;
      this.#finish = finish;
      "entry" in outcome ? resolve({ done: false, value: outcome.entry }) : reject(outcome.error);
    } else if (this.#end?.error) {
      reject(this.#end.error);
    } else {
      resolve({ done: true, value: undefined });
    }
  }

  // The feed's callbacks.

  /**
   * @param {Outcome} outcome
   * @returns {Promise<void>} settled when the reader asks for the next one
   */
  #offered(outcome) {
    return new Promise((finish) => {
      this.#offer = { outcome, finish };
      this.#serve();
    });
  }

  /** @param {PlaceLost} gap */
  async #gap(gap) {
    if (this.#onGap === undefined) {
      await this.#offered({ error: gap });
      return;
    }
    try {
      await this.#onGap(gap);
    } catch (error) {
      await this.#offered({ error });
    }
  }

  /** @param {StreamdError | null} error */
  #ended(error) {
    this.#end = { error };
    this.#offer = error === null ? null : this.#offer;
    this.#serve();
  }
}
