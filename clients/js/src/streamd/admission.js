/**
 * How a link is let in where the server asks who comes: by a token, in the first call of each
 * connection.
 *
 * @import { Backoff } from "./backoff.js"
 * @import { Answered, Calls } from "./calls.js"
 * @import { Connection } from "./connection.js"
 * @import { Environment } from "./environment.js"
 * @import { StreamdError } from "./errors.js"
 * @import { Tokens } from "./tokens.js"
 */

import {
  ConnectionLost,
  ConnectionRejected,
  LimitExceeded,
  MethodNotFound,
  RpcError,
  Unauthorized,
} from "./errors.js";

const TOKEN_EXPIRED = 4001; // close codes
const TOO_MANY = 4029;
const TOKEN_REFUSED = 4501;

/** Shows the token of a link, and judges what becomes of it. */
export class Admission {
  #tokens;
  #calls;
  #backoff;
  #timeout;
  #environment;
  /** @type {unknown} */
  #timer = null;

  /**
   * @param {Tokens} tokens
   * @param {Calls} calls the link's
   * @param {Backoff} backoff the link's
   * @param {object} options
   * @param {number} options.timeout milliseconds that the server has to take a token
   * @param {Environment} options.environment
   */
  constructor(tokens, calls, backoff, { timeout, environment }) {
    this.#tokens = tokens;
    this.#calls = calls;
    this.#backoff = backoff;
    this.#timeout = timeout;
    this.#environment = environment;
  }

  /**
   * Return the token for the next connection; reject with `Unreachable` where there is none now.
   *
   * @returns {Promise<string>}
   */
  token() {
    return this.#tokens.get();
  }

  /**
   * Show the token, before anything else is sent; the connection is abandoned if it is not taken.
   *
   * @param {string} token
   * @param {Connection} connection
   * @param {() => void} taken called when all else may be sent
   */
  show(token, connection, taken) {
    const late = new ConnectionLost("the server did not answer to the token");
    this.#timer = this.#environment.setTimeout(() => connection.abandon(late), this.#timeout);
    /** @type {Answered} */
    const answered = (outcome) => {
      this.leave();
      if (!(outcome instanceof RpcError) || outcome instanceof MethodNotFound) {
        taken(); // a server without the method asks for no token
      } else {
        connection.abandon(this.#passing(outcome) ?? outcome);
      }
    };
    const [id, frame] = this.#calls.add("authenticate", { token }, answered, { lasting: false });
    connection.send(id, frame);
  }

  /** Wait for nothing any more: the connection is gone, or nobody wants it. */
  leave() {
    this.#environment.clearTimeout(this.#timer);
    this.#tokens.cancel();
  }

  /**
   * Return what it means that a connection ended with an error: that its token is refused may say
   * no more than that it is too old. A new one that is refused says that none will do.
   *
   * @param {StreamdError} error
   * @returns {StreamdError}
   */
  judge(error) {
    const ending = this.#isOldToken(error)
      ? new ConnectionLost("the token has expired", { code: TOKEN_EXPIRED, cause: error })
      : error;
    if (ending instanceof ConnectionLost && ending.code === TOKEN_EXPIRED) {
      this.#tokens.drop();
    }
    return ending;
  }

  /** @param {StreamdError} error */
  #isOldToken(error) {
    const refused =
      error instanceof Unauthorized ||
      (error instanceof ConnectionRejected && error.code === TOKEN_REFUSED);
    const fresh = this.#tokens.fresh && !this.#backoff.stable;
    return refused && !fresh;
  }

  /**
   * Return the trouble where another connection may have its token taken, else null.
   *
   * @param {RpcError} error
   */
  #passing(error) {
    if (error instanceof LimitExceeded) {
      return new ConnectionLost(error.message, { code: TOO_MANY, cause: error });
    }
    if (!error.retryable) {
      return null;
    }
    if (error.retryAfter !== null) {
      this.#backoff.told(error.retryAfter);
    }
    return new ConnectionLost(error.message, { cause: error });
  }
}
