/**
 * Calls that are made until they are answered: through reconnects, and the server's passing errors.
 *
 * @import { Environment } from "./environment.js"
 * @import { StreamdError } from "./errors.js"
 * @import { Link } from "./link.js"
 * @import { Answer } from "./protocol.js"
 */

import { Attempts } from "./attempts.js";
import { callJitter } from "./backoff.js";
import { RpcError } from "./errors.js";

const LATE = Symbol("late");

/** The calls of a client, over its link. */
export class Caller {
  #link;
  #environment;
  /** @type {Set<() => void>} */
  #pauses = new Set();

  /**
   * @param {Link} link
   * @param {Environment} environment
   */
  constructor(link, environment) {
    this.#link = link;
    this.#environment = environment;
  }

  /**
   * Call a method and return its result.
   *
   * Throws `RpcError`: the server's answer, or its last one when the time was up; `CallTimeout`:
   * no answer came in time; or why the link has ended.
   *
   * @param {string} method
   * @param {Record<string, unknown>} params
   * @param {number} timeout milliseconds
   * @returns {Promise<unknown>}
   */
  async call(method, params, timeout) {
    const { clock, random } = this.#environment;
    const backoff = (/** @type {number} */ attempt) => callJitter(attempt, random);
    const attempts = new Attempts(method, timeout, { clock, backoff });
    const loss = this.#link.loss;
    for (;;) {
      const outcome = await this.#once(method, params, attempts.left);
      if (outcome !== LATE && !(outcome instanceof Error)) {
        return outcome.result;
      }
      if (outcome !== LATE && !(outcome instanceof RpcError)) {
        throw outcome;
      }
      if (this.#link.loss !== loss) {
        attempts.lost(this.#link.loss); // it was sent more than once
      }
      if (outcome === LATE) {
        attempts.lost(this.#link.trouble);
        throw attempts.verdict();
      }
      await this.#pause(attempts.pause(outcome));
    }
  }

  /** Let no call wait for its next attempt: the link has ended. */
  hurry() {
    this.#pauses.forEach((end) => end());
  }

  /**
   * @param {string} method
   * @param {Record<string, unknown>} params
   * @param {number} left milliseconds
   * @returns {Promise<Answer | StreamdError | typeof LATE>}
   */
  #once(method, params, left) {
    const { setTimeout, clearTimeout } = this.#environment;
    return new Promise((resolve) => {
      /** @param {Answer | StreamdError} outcome */
      const settled = (outcome) => {
        clearTimeout(timer);
        resolve(outcome);
      };
      const id = this.#link.post(method, params, settled, { lasting: true });
      const timer = setTimeout(() => {
        this.#link.forget(id);
        resolve(LATE);
      }, left);
    });
  }

  /**
   * @param {number} milliseconds
   * @returns {Promise<void>}
   */
  #pause(milliseconds) {
    const { setTimeout, clearTimeout } = this.#environment;
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#pauses.delete(end);
        resolve();
      };
      const timer = setTimeout(end, milliseconds);
      this.#pauses.add(end);
    });
  }
}
