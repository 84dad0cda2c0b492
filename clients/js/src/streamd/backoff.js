/** How long to wait before the next attempt. No waiting here: numbers in, numbers out. */

export const STABLE_AFTER = 5_000; // milliseconds

/**
 * Return the milliseconds to wait before retry number `attempt` (0, 1, 2 …), from `low` to `high`.
 *
 * The delay is spread evenly between `low` and a ceiling that doubles with every attempt, so
 * that clients which lost the server together do not come back together.
 *
 * @param {number} attempt
 * @param {object} [options]
 * @param {number} [options.low] milliseconds
 * @param {number} [options.high] milliseconds
 * @param {() => number} [options.random] returns a number from 0 to 1
 * @returns {number}
 */
export function fullJitter(attempt, { low = 500, high = 20_000, random = Math.random } = {}) {
  const ceiling = Math.min(high, low * 2 ** (attempt + 1));
  return low + random() * (ceiling - low);
}

/**
 * Return the milliseconds to wait before retry number `attempt` (0, 1, 2 …) of a call.
 *
 * @param {number} attempt
 * @param {() => number} [random] returns a number from 0 to 1
 * @returns {number}
 */
export function callJitter(attempt, random = Math.random) {
  return fullJitter(attempt, { low: 100, high: 2_000, random });
}

/**
 * Return the milliseconds before a call is repeated, `retryAfter` of them at least.
 *
 * @param {number} attempt
 * @param {number | null} retryAfter
 * @param {(attempt: number) => number} [backoff]
 * @returns {number}
 */
export function retryDelay(attempt, retryAfter, backoff = callJitter) {
  return Math.max(backoff(attempt), retryAfter ?? 0);
}

/** The delays of one client: longer with each failure, anew after a stable connection. */
export class Backoff {
  #delay;
  #clock;
  #stableAfter;
  #attempt = 0;
  /** @type {number | null} */
  #openedAt = null;
  /** @type {number | null} */
  #told = null;

  /**
   * @param {(attempt: number) => number} delay maps the number of the attempt to milliseconds
   * @param {object} options
   * @param {() => number} options.clock a monotonic clock in milliseconds
   * @param {number} [options.stableAfter] milliseconds a connection must have lasted to count as
   *   a success
   */
  constructor(delay, { clock, stableAfter = STABLE_AFTER }) {
    this.#delay = delay;
    this.#clock = clock;
    this.#stableAfter = stableAfter;
  }

  /** Whether a connection is open, and has lasted long enough to count as a success. */
  get stable() {
    return this.#openedAt !== null && this.#clock() - this.#openedAt >= this.#stableAfter;
  }

  /** Note that a connection is open. */
  opened() {
    this.#openedAt = this.#clock();
    this.#told = null;
  }

  /**
   * Note that the server named the next delay; it goes before the computed one, once.
   *
   * @param {number} milliseconds
   */
  told(milliseconds) {
    this.#told = Math.max(0, milliseconds);
  }

  /**
   * Return the milliseconds to wait now that the connection was lost or could not be opened.
   *
   * @returns {number}
   */
  next() {
    if (this.stable) {
      this.#attempt = 0;
    }
    this.#openedAt = null;
    if (this.#told !== null) {
      const told = this.#told;
      this.#told = null;
      return told;
    }
    this.#attempt += 1;
    return this.#delay(this.#attempt - 1);
  }
}
