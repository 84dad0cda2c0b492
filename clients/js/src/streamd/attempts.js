/** The attempts of one call: when to make the next, and what to say when there is none. No I/O. */

import { callJitter, retryDelay } from "./backoff.js";
import { CallTimeout, ConnectionLost, RpcError, UnknownOutcome, Unreachable } from "./errors.js";

/**
 * The attempts of one call, from now to its deadline.
 *
 * What the caller sees at the end never says less than is known: `StoreUnavailable` and
 * `RateLimited` mean that nothing was stored, so they are thrown only where no other attempt may
 * have reached the server.
 */
export class Attempts {
  #method;
  #timeout;
  #clock;
  #backoff;
  #deadline;
  #failed = 0;
  #arrived = false;
  /** @type {RpcError | null} */
  #answer = null;
  /** @type {ConnectionLost | null} */
  #trouble = null;

  /**
   * @param {string} method the method that is called
   * @param {number} timeout the milliseconds that all attempts have together
   * @param {object} options
   * @param {() => number} options.clock a monotonic clock in milliseconds
   * @param {(attempt: number) => number} [options.backoff] maps the number of the failed attempt
   *   (0, 1, 2 …) to the milliseconds before the next
   */
  constructor(method, timeout, { clock, backoff = callJitter }) {
    this.#method = method;
    this.#timeout = timeout;
    this.#clock = clock;
    this.#backoff = backoff;
    this.#deadline = clock() + timeout;
  }

  /** The milliseconds until the deadline. */
  get left() {
    return this.#deadline - this.#clock();
  }

  /**
   * Note an attempt without an answer, and why if that is known.
   *
   * @param {ConnectionLost | null} trouble
   */
  lost(trouble) {
    if (!this.#arrived) {
      // What leaves the outcome open is not forgotten for what does not.
      this.#trouble = trouble;
      this.#arrived = !(trouble instanceof Unreachable);
    }
  }

  /**
   * Note how an attempt failed and return the milliseconds to wait before the next.
   *
   * Throws the error for the caller where there is no next one.
   *
   * @param {RpcError} failure
   * @returns {number}
   */
  pause(failure) {
    if (!failure.retryable) {
      throw failure;
    }
    if (!(this.#answer instanceof UnknownOutcome)) {
      this.#answer = failure;
    }
    const delay = retryDelay(this.#failed, failure.retryAfter, this.#backoff);
    this.#failed += 1;
    if (delay >= this.left) {
      throw this.verdict();
    }
    return delay;
  }

  /**
   * Return what the caller is to see now that the time is over.
   *
   * @returns {RpcError | CallTimeout}
   */
  verdict() {
    const answer = this.#answer;
    if (answer !== null && (answer instanceof UnknownOutcome || !this.#arrived)) {
      return answer;
    }
    return new CallTimeout(this.#method, this.#timeout, this.#trouble ?? answer);
  }
}
