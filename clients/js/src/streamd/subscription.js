/**
 * A subscription that outlives its connections: it asks again after each, from where it had got.
 *
 * The law of `Subscription.state`, which only this file changes:
 *
 *     subscribing ──answer──→ catching up ──live: true──→ live
 *          ↑ connection lost,      │ too much waits         │
 *          │ place lost            ↓                        │
 *          └────── drained ───── paused ←───too much waits──┘
 *     any ──close(), a final error──→ closed
 *
 * @import { Environment } from "./environment.js"
 * @import { RpcError } from "./errors.js"
 * @import { Link } from "./link.js"
 * @import { Answer } from "./protocol.js"
 * @import { Subscribed } from "./results.js"
 * @import { Entry, Scalar } from "./values.js"
 */

import { callJitter, retryDelay } from "./backoff.js";
import { ClientClosed, InvalidParams, PlaceLost, StreamdError } from "./errors.js";
import { Inbox } from "./inbox.js";
import { readSubscribed } from "./results.js";

const PLACE_LOST = -32007;

/**
 * Where a feed stands.
 *
 * - subscribing: no subscription on the server: there is no connection, or the answer is on its way
 * - catching up: subscribed; older entries are still coming
 * - live: subscribed; everything up to now has been received
 * - paused: the reader is slow: what waits is kept, the rest is fetched when it has been taken
 * - closed: nothing more is received
 *
 * @typedef {"subscribing" | "catching up" | "live" | "paused" | "closed"} FeedState
 */

/** One filter on one link, filling an inbox: a `Subscriber`. Nothing here waits. */
export class Subscription {
  #link;
  #environment;
  #filter;
  #backfill;
  #changed;
  /** @type {number | null} */
  #number = null;
  #stored = false;
  #attempt = 0;
  /** @type {unknown} */
  #retry = null;
  /** @type {FeedState} */
  #state = "subscribing";

  /**
   * @param {Link} link
   * @param {object} options
   * @param {Environment} options.environment
   * @param {Record<string, Scalar | Scalar[]>} options.filter as it goes over the wire
   * @param {number} options.backfill the entries to ask for where there is no place to go on from
   * @param {() => void} options.changed called when there is something to take, the cursor has
   *   moved or the state is another; must not throw
   */
  constructor(link, { environment, filter, backfill, changed }) {
    this.#link = link;
    this.#environment = environment;
    this.#filter = filter;
    this.#backfill = backfill;
    this.#changed = changed;
    /** What was received and not taken yet. */
    this.inbox = new Inbox();
    /** Where the history older than the last backfill begins. @type {string | null} */
    this.before = null;
    /**
     * Why it is closed; null if it is not, or was closed by its owner.
     * @type {StreamdError | null}
     */
    this.end = null;
  }

  /** Where it stands. */
  get state() {
    return this.#state;
  }

  // Life.

  /**
   * Subscribe now or when there is a connection, and after every reconnect.
   *
   * @param {string | null} after the place to begin after
   * @param {{stored?: boolean}} [options] whether nobody has looked at what was stored there
   */
  open(after, { stored = false } = {}) {
    if (this.#state !== "closed") {
      this.#stored = stored;
      this.inbox = new Inbox(after);
      this.#link.attach(this);
    }
  }

  /** Fetch what was left on the server, now that the inbox is empty. */
  resume() {
    if (this.#state === "paused") {
      this.#move("subscribing");
      if (this.#link.connected) {
        this.#subscribe();
      }
    }
  }

  /** Unsubscribe and drop what waits. Idempotent. */
  close() {
    this.inbox.clear();
    this.#finish(null);
  }

  // Subscribing.

  #subscribe() {
    /** @type {Record<string, unknown>} */
    const params = { filter: this.#filter, backfill: this.#backfill };
    if (this.inbox.position !== null) {
      params.after = this.inbox.position;
    }
    this.#attempting(() => {
      this.#link.post("subscribe", params, (outcome, size) => this.#settled(outcome, size));
    });
  }

  /**
   * @param {Answer | StreamdError} outcome
   * @param {number} size
   */
  #settled(outcome, size) {
    if (outcome instanceof StreamdError) {
      this.#refused(outcome);
      return;
    }
    this.#attempting(() => {
      const subscribed = readSubscribed(outcome.result);
      if (this.#state === "closed") {
        this.#link.unsubscribe(subscribed.subscription);
      } else {
        this.#accepted(subscribed, size);
      }
    });
  }

  /**
   * End with the error where `step` throws one of this package.
   *
   * @param {() => void} step
   */
  #attempting(step) {
    try {
      step();
    } catch (error) {
      if (!(error instanceof StreamdError)) {
        throw error;
      }
      this.#finish(error);
    }
  }

  /**
   * @param {Subscribed} subscribed
   * @param {number} size
   */
  #accepted(subscribed, size) {
    this.#attempt = 0;
    this.#number = subscribed.subscription;
    this.#link.route(this.#number, this);
    if (subscribed.resumed === false) {
      this.#lose("the place in the log is gone", { reason: subscribed.reason });
    }
    if (subscribed.resumed !== true) {
      this.before = subscribed.before;
    }
    for (const entry of subscribed.entries) {
      this.inbox.put(entry, Math.floor(size / subscribed.entries.length));
    }
    this.inbox.mark(subscribed.cursor);
    this.#move(subscribed.live ? "live" : "catching up");
  }

  /** @param {StreamdError} error */
  #refused(error) {
    if (this.#state === "closed") {
      return;
    }
    const { retryable, retryAfter } = /** @type {RpcError} */ (error);
    if (retryable) {
      const { random, setTimeout } = this.#environment;
      const backoff = (/** @type {number} */ attempt) => callJitter(attempt, random);
      const delay = retryDelay(this.#attempt, retryAfter, backoff);
      this.#attempt += 1;
      this.#retry = setTimeout(() => this.#subscribe(), delay);
    } else if (this.#stored && error instanceof InvalidParams && error.reason === "cursor") {
      // Who stored it may be another program, or an older one: it would be in the way for ever.
      this.#stored = false;
      this.#lose(error.message, error.data);
      this.#subscribe();
    } else {
      this.#finish(error);
    }
  }

  /**
   * @param {string} message
   * @param {unknown} data
   */
  #lose(message, data) {
    this.inbox.gap(new PlaceLost(PLACE_LOST, message, data, this.inbox.position));
  }

  #leave() {
    if (this.#number !== null) {
      this.#link.unsubscribe(this.#number);
      this.#number = null;
    }
  }

  /** @param {StreamdError | null} error */
  #finish(error) {
    if (this.#state === "closed") {
      return;
    }
    this.end = error;
    this.#environment.clearTimeout(this.#retry);
    this.#leave();
    this.#link.detach(this);
    this.#move("closed");
  }

  /** @param {FeedState} state */
  #move(state) {
    this.#state = state;
    this.#changed();
  }

  // What the link tells (`Subscriber`).

  /** Subscribe on a new connection. */
  connected() {
    if (this.#state === "subscribing") {
      this.#subscribe();
    }
  }

  /** Forget the connection's number. */
  disconnected() {
    this.#number = null;
    this.#environment.clearTimeout(this.#retry);
    if (this.#state !== "paused") {
      this.#move("subscribing");
    }
  }

  /**
   * Keep an entry, or pause if too much waits.
   *
   * @param {Entry} entry
   * @param {number} size
   */
  received(entry, size) {
    if (this.inbox.hasRoom(size)) {
      this.inbox.put(entry, size);
      this.#changed();
    } else {
      this.#leave();
      this.#move("paused");
    }
  }

  /**
   * Note how far the server has got.
   *
   * @param {string} cursor
   * @param {boolean} live
   */
  progressed(cursor, live) {
    this.inbox.mark(cursor);
    this.#move(live ? "live" : this.#state);
  }

  /**
   * Go on with a gap after a lost place; end, or try again, as the error says.
   *
   * @param {RpcError} error
   */
  closedByServer(error) {
    this.#number = null;
    this.#move("subscribing");
    if (error instanceof PlaceLost) {
      this.#lose(error.message, error.data);
      this.#subscribe();
    } else {
      this.#refused(error);
    }
  }

  /**
   * End with the link.
   *
   * @param {StreamdError} error
   */
  stopped(error) {
    if (error instanceof ClientClosed) {
      this.inbox.clear();
    }
    this.#finish(error);
  }
}
