/**
 * The calls that have no answer yet.
 *
 * @import { StreamdError } from "./errors.js"
 * @import { Answer, CallId } from "./protocol.js"
 */

import { encodeCall } from "./protocol.js";

/**
 * Takes the outcome of a call, and the length in characters of the frame it came in.
 *
 * @callback Answered
 * @param {Answer | StreamdError} outcome
 * @param {number} size
 * @returns {void}
 */

/** A table of calls by their ids, which rise and are never used again. */
export class Calls {
  #messageBytes;
  #id = 0;
  /** @type {Map<CallId, {frame: string, answered: Answered, lasting: boolean}>} */
  #calls = new Map();

  /**
   * @param {number | null} messageBytes the longest frame to send; null for any
   */
  constructor(messageBytes) {
    this.#messageBytes = messageBytes;
  }

  /** How many there are. */
  get size() {
    return this.#calls.size;
  }

  /**
   * Enter a call and return its id and its frame. A lasting one outlives the connection.
   *
   * Throws `LimitExceeded` where the frame is longer than the server would take.
   *
   * @param {string} method
   * @param {Record<string, unknown>} params
   * @param {Answered} answered
   * @param {{lasting: boolean}} options
   * @returns {[id: number, frame: string]}
   */
  add(method, params, answered, { lasting }) {
    this.#id += 1;
    const frame = encodeCall(this.#id, method, params, this.#messageBytes);
    this.#calls.set(this.#id, { frame, answered, lasting });
    return [this.#id, frame];
  }

  /**
   * Tell the caller the outcome; ignored when the call was given up in the meantime.
   *
   * @param {CallId} id
   * @param {Answer | StreamdError} outcome
   * @param {number} size
   */
  settle(id, outcome, size) {
    const call = this.#calls.get(id);
    if (call !== undefined) {
      this.#calls.delete(id);
      call.answered(outcome, size);
    }
  }

  /**
   * Drop a call whose caller waits no more. Idempotent.
   *
   * @param {number} id
   */
  forget(id) {
    this.#calls.delete(id);
  }

  /** Drop all that are not lasting: their connection is gone. */
  forgetPassing() {
    for (const [id, call] of this.#calls) {
      if (!call.lasting) {
        this.#calls.delete(id);
      }
    }
  }

  /**
   * Drop all, and tell each caller the error.
   *
   * @param {StreamdError} error
   */
  fail(error) {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) {
      call.answered(error, 0);
    }
  }

  /**
   * Return the ids and frames of all, in the order they were entered.
   *
   * @returns {[id: CallId, frame: string][]}
   */
  frames() {
    return [...this.#calls].map(([id, call]) => [id, call.frame]);
  }
}
