/**
 * A feed: the entries that a caller is given one after the other, and the place he has got to.
 *
 * @import { Cursors } from "./cursors.js"
 * @import { Environment } from "./environment.js"
 * @import { StreamdError } from "./errors.js"
 * @import { Link } from "./link.js"
 * @import { FeedState } from "./subscription.js"
 * @import { Entry, Scalar } from "./values.js"
 */

import { Keeper } from "./cursors.js";
import { tell } from "./environment.js";
import { ClientClosed, PlaceLost } from "./errors.js";
import { Subscription } from "./subscription.js";

const SLICE = 10; // milliseconds of callbacks in one go; then the page has its turn

/**
 * @typedef {object} Callbacks
 * @property {(entry: Entry, feed: Feed) => unknown} [onEntry] takes the next entry; where it
 *   returns a promise, the one after that waits for it
 * @property {(state: FeedState, error: StreamdError | null) => unknown} [onState] told where the
 *   feed stands, first and whenever that is another; "closed" comes after all entries, with what
 *   ended the feed, null for its own `close()`
 * @property {(gap: PlaceLost, feed: Feed) => unknown} [onGap] told in its place that entries may
 *   have been missed; waited for like `onEntry`
 */

/**
 * @typedef {object} FeedOptions
 * @property {Environment} environment
 * @property {Record<string, Scalar | Scalar[]>} filter as it goes over the wire
 * @property {number} backfill
 * @property {string | null} after
 * @property {Cursors | null} cursors
 * @property {number} timeout milliseconds that `cursors.load` has
 */

/**
 * The entries that match a filter, oldest first, from the past into the future without a gap.
 *
 * Made by `Client.subscribe`. The connection may come and go meanwhile. The callbacks may make
 * calls and close the feed; what they throw is reported, and the feed goes on.
 */
export class Feed {
  #subscription;
  #environment;
  #callbacks;
  /** @type {Keeper | null} */
  #keeper = null;
  #woken = false;
  #busy = false;
  #until = 0;
  /** @type {FeedState | null} */
  #told = null;

  /**
   * @param {Link} link
   * @param {FeedOptions} options
   * @param {Callbacks} callbacks
   */
  constructor(link, options, callbacks) {
    const { environment, filter, backfill, after, cursors, timeout } = options;
    this.#environment = environment;
    this.#callbacks = callbacks;
    const changed = () => this.#wake();
    this.#subscription = new Subscription(link, { environment, filter, backfill, changed });
    this.#wake();
    if (cursors === null) {
      this.#subscription.open(after);
    } else {
      this.#keeper = new Keeper(cursors, environment, () => this.cursor);
      this.#keeper.load(timeout).then((stored) => {
        this.#subscription.open(stored ?? after, { stored: stored !== null });
      });
    }
  }

  // What it tells.

  /**
   * The place to store, and to give as `after` tomorrow; null before the first one.
   *
   * It is the last entry that the callback has finished, and moves with the server's progress
   * while nothing waits.
   */
  get cursor() {
    return this.#subscription.inbox.cursor;
  }

  /** What to give to `Client.history` for the entries older than the last backfill, or null. */
  get before() {
    return this.#subscription.before;
  }

  /** Where the feed stands. */
  get state() {
    return this.#subscription.state;
  }

  /** Whether everything up to now has been received. */
  get live() {
    return this.#subscription.state === "live";
  }

  /** What ended the feed; null if nothing did, or its own `close()`. */
  get error() {
    return this.#subscription.end;
  }

  /**
   * Unsubscribe, and give no further entry. Idempotent.
   *
   * What was received and not taken is dropped; `cursor` stays readable.
   */
  close() {
    this.#subscription.close();
    this.#keeper?.stop();
  }

  // The pump: callbacks run here and nowhere else, never where the connection is read.

  #wake() {
    if (!this.#woken) {
      this.#woken = true;
      queueMicrotask(() => {
        this.#woken = false;
        this.#tellState();
        if (!this.#busy) {
          this.#begin();
        }
      });
    }
  }

  /** Begin a slice: the page has just had its turn. */
  #begin = () => {
    this.#until = this.#environment.clock() + SLICE;
    this.#pump();
  };

  #pump() {
    this.#busy = true;
    for (let item = this.#take(); item !== null; item = this.#take()) {
      const result = this.#tell(item);
      if (isPromise(result)) {
        // One that is settled already comes back here before the page has its turn.
        result.then(this.#goOn, (error) => this.#reportAndGoOn(error));
        return;
      }
      if (this.#isOver) {
        this.#environment.soon(this.#begin);
        return;
      }
    }
    this.#busy = false;
    this.#idle();
  }

  #goOn = () => {
    if (this.#isOver) {
      this.#environment.soon(this.#begin);
    } else {
      this.#pump();
    }
  };

  get #isOver() {
    return this.#environment.clock() >= this.#until;
  }

  #take() {
    return this.#subscription.inbox.take();
  }

  #idle() {
    if (this.state === "closed") {
      this.#keeper?.stop();
    } else {
      this.#keeper?.touch();
      this.#subscription.resume();
    }
    this.#tellState();
  }

  /** @param {unknown} error */
  #reportAndGoOn(error) {
    this.#environment.report(error);
    this.#goOn();
  }

  // The callbacks.

  /** @param {Entry | PlaceLost} item */
  #tell(item) {
    const { onEntry, onGap } = this.#callbacks;
    try {
      return item instanceof PlaceLost ? onGap?.(item, this) : onEntry?.(item, this);
    } catch (error) {
      this.#environment.report(error);
      return undefined;
    }
  }

  #tellState() {
    const { state, error } = this;
    const early = error !== null && (this.#busy || !this.#subscription.inbox.done);
    if (state === this.#told || early) {
      return;
    }
    this.#told = state;
    const { onState } = this.#callbacks;
    if (onState === undefined) {
      this.#reportEnd(error);
    } else {
      tell(() => onState(state, error), this.#environment.report);
    }
  }

  /**
   * Nobody listens to what ended the feed: the developer is told, if it was not he himself.
   *
   * @param {StreamdError | null} error
   */
  #reportEnd(error) {
    if (error !== null && !(error instanceof ClientClosed)) {
      this.#environment.report(error);
    }
  }
}

/**
 * @param {any} value
 * @returns {value is PromiseLike<unknown>}
 */
function isPromise(value) {
  return typeof value?.then === "function";
}
