/**
 * The token that opens each connection, asked for again where the server takes it no more.
 *
 * @import { Environment } from "./environment.js"
 */

import { Unreachable } from "./errors.js";

/** One token, the function that gives the next, and the time that has. */
export class Tokens {
  #getToken;
  #timeout;
  #environment;
  /** @type {string | null} */
  #token = null;
  #fresh = false;
  /** @type {unknown} */
  #timer = null;

  /**
   * @param {() => string | Promise<string>} getToken
   * @param {object} options
   * @param {number} options.timeout milliseconds that `getToken` has
   * @param {Environment} options.environment
   */
  constructor(getToken, { timeout, environment }) {
    this.#getToken = getToken;
    this.#timeout = timeout;
    this.#environment = environment;
  }

  /** Whether the token was not there at the attempt before. */
  get fresh() {
    return this.#fresh;
  }

  /**
   * Return the token for the next connection, the last one if that was not dropped.
   *
   * Rejects with `Unreachable` where `getToken` throws, gives no text or takes too long.
   *
   * @returns {Promise<string>}
   */
  async get() {
    this.#fresh = this.#token === null;
    this.#token ??= await this.#ask();
    return this.#token;
  }

  /** Forget the token: the next connection needs a new one. */
  drop() {
    this.#token = null;
  }

  /** Wait for no token any more: nobody wants it. */
  cancel() {
    this.#environment.clearTimeout(this.#timer);
  }

  /** @returns {Promise<string>} */
  async #ask() {
    try {
      const token = await Promise.race([this.#getToken(), this.#late()]);
      if (typeof token !== "string") {
        throw new TypeError(`it gave no text but ${token === null ? "null" : typeof token}`);
      }
      return token;
    } catch (cause) {
      const said = cause instanceof Error ? cause.message : "it threw what is no error";
      throw new Unreachable(`getToken failed: ${said}`, { cause });
    } finally {
      this.cancel();
    }
  }

  /** @returns {Promise<never>} */
  #late() {
    return new Promise((_, reject) => {
      this.#timer = this.#environment.setTimeout(
        () => reject(new Error(`nothing came within ${this.#timeout} ms`)),
        this.#timeout,
      );
    });
  }
}
