/**
 * The lasting link to a server: one connection after another, and what must survive in between.
 *
 * Calls without an answer are sent again, in their old order, when a new connection is open; each
 * subscriber is told and asks anew by itself. Everything that comes in is handled in plain
 * functions, so that an answer and the pushes behind it are seen in the order of the wire.
 *
 * @import { SocketClass } from "./connection.js"
 * @import { Environment } from "./environment.js"
 * @import { StreamdError } from "./errors.js"
 * @import { Message } from "./protocol.js"
 * @import { Answered } from "./calls.js"
 * @import { Subscriber } from "./routes.js"
 */

import { Admission } from "./admission.js";
import { Backoff } from "./backoff.js";
import { Calls } from "./calls.js";
import { Connection } from "./connection.js";
import { ClientClosed, ConnectionLost, Unauthorized, Unreachable } from "./errors.js";
import { Routes } from "./routes.js";
import { Tokens } from "./tokens.js";

/**
 * Where a link stands: a connection is being opened; it is open; the next attempt waits for its
 * time; nothing more comes.
 *
 * @typedef {"connecting" | "connected" | "waiting" | "stopped"} LinkState
 */

/**
 * @typedef {object} LinkOptions
 * @property {(() => string | Promise<string>) | null} getToken gives what opens a connection
 * @property {number} timeout milliseconds that `getToken` and the server's answer to it have
 * @property {number | null} messageBytes the longest frame to send; null for any
 * @property {(attempt: number) => number} backoff the delays between connections, in milliseconds
 * @property {number} pingInterval milliseconds of silence after which a connection is tried
 * @property {number} pingTimeout milliseconds it then has to show a sign of life
 * @property {SocketClass} WebSocket
 * @property {Environment} environment
 * @property {() => void} moved called when `state` is another; must not throw
 */

export class Link {
  #url;
  #options;
  #environment;
  #backoff;
  #calls;
  /** @type {Admission | null} */
  #admission = null;
  /** @type {Set<Subscriber>} */
  #subscribers = new Set();
  #routes = new Routes();
  /** The connection that is being opened or is open. @type {Connection | null} */
  #connection = null;
  /** @type {LinkState} */
  #state = "connecting";
  /** @type {unknown} */
  #timer = null;
  /** @type {StreamdError | null} */
  #end = null;
  /** @type {ConnectionLost | null} */
  #trouble = null;
  /** @type {ConnectionLost | null} */
  #loss = null;

  /**
   * @param {string} url a `ws://` or `wss://` URL
   * @param {LinkOptions} options
   */
  constructor(url, options) {
    const { backoff, environment, getToken, messageBytes, timeout } = options;
    this.#url = url;
    this.#options = options;
    this.#environment = environment;
    this.#backoff = new Backoff(backoff, environment);
    this.#calls = new Calls(messageBytes);
    if (getToken !== null) {
      const tokens = new Tokens(getToken, { timeout, environment });
      this.#admission = new Admission(tokens, this.#calls, this.#backoff, options);
    }
    /** When the next attempt begins, on the clock; null where none waits. @type {number | null} */
    this.retryAt = null;
  }

  // Life.

  /** Begin to connect, in the background. */
  start() {
    this.#connect();
  }

  /** End for good: every waiter gets `ClientClosed`. Idempotent. */
  close() {
    this.#stop(new ClientClosed());
  }

  /** Where it stands. */
  get state() {
    return this.#state;
  }

  /** Whether a connection is open now. */
  get connected() {
    return this.#connection !== null && this.#state === "connected";
  }

  /** Why there is no connection now, if that is known. */
  get trouble() {
    return this.#trouble;
  }

  /** Why the last connection that was open ended; null while none did. */
  get loss() {
    return this.#loss;
  }

  /** Why the link has ended; null while it lives. */
  get end() {
    return this.#end;
  }

  /** Connect at once if the next attempt waits; else find out whether the connection is dead. */
  wake() {
    if (this.#state === "waiting") {
      this.#environment.clearTimeout(this.#timer);
      this.#connect();
    } else if (this.connected) {
      this.#connection?.probe();
    }
  }

  #connect() {
    this.retryAt = null;
    this.#move("connecting");
    if (this.#admission === null) {
      this.#open(() => this.#opened());
      return;
    }
    this.#admission.token().then(
      (token) => this.#open(() => this.#show(token)),
      (trouble) => this.#failed(trouble),
    );
  }

  /** @param {() => void} opened what to do with the open connection */
  #open(opened) {
    if (this.#end !== null) {
      return;
    }
    const listener = { opened, received: this.#receive, ended: this.#lost };
    try {
      this.#connection = new Connection(this.#url, listener, this.#options);
    } catch (cause) {
      // As where a page over TLS may not open a connection without.
      const said = cause instanceof Error ? cause.message : "it could not be tried";
      this.#failed(new Unreachable(said, { cause }));
    }
  }

  /** @param {string} token */
  #show(token) {
    if (this.#connection !== null) {
      this.#admission?.show(token, this.#connection, () => this.#opened());
    }
  }

  #opened() {
    this.#backoff.opened();
    this.#trouble = null;
    this.#move("connected");
    for (const [id, frame] of this.#calls.frames()) {
      this.#connection?.send(id, frame);
    }
    for (const subscriber of [...this.#subscribers]) {
      subscriber.connected();
    }
  }

  /** @param {StreamdError} error */
  #lost = (error) => {
    const wasConnected = this.connected;
    this.#connection = null;
    this.#admission?.leave();
    this.#routes.clear();
    this.#calls.forgetPassing();
    if (wasConnected) {
      this.#subscribers.forEach((subscriber) => subscriber.disconnected());
    }
    this.#failed(error);
  };

  /** @param {StreamdError} error */
  #failed(error) {
    if (this.#end !== null) {
      return;
    }
    const ending = this.#admission?.judge(error) ?? error;
    if (ending instanceof ConnectionLost) {
      this.#comeBack(ending);
    } else {
      this.#stop(ending);
    }
  }

  /** @param {ConnectionLost} error */
  #comeBack(error) {
    this.#trouble = error;
    if (!(error instanceof Unreachable)) {
      this.#loss = error;
    }
    const delay = this.#backoff.next();
    this.retryAt = this.#environment.clock() + delay;
    this.#timer = this.#environment.setTimeout(() => this.#connect(), delay);
    this.#move("waiting");
  }

  /** @param {StreamdError} error */
  #stop(error) {
    if (this.#end !== null) {
      return;
    }
    this.#end = error;
    this.retryAt = null;
    this.#environment.clearTimeout(this.#timer);
    this.#admission?.leave();
    this.#connection?.abandon(error);
    this.#calls.fail(error);
    for (const subscriber of [...this.#subscribers]) {
      subscriber.stopped(error);
    }
    this.#move("stopped");
  }

  /** @param {LinkState} state */
  #move(state) {
    this.#state = state;
    this.#options.moved();
  }

  // Calls.

  /**
   * Send a call and have `answered` called with its outcome and the size of the frame.
   *
   * A lasting call outlives the connection; any other is forgotten with it. Throws `LimitExceeded`
   * where the frame is longer than the server would take, and why the link has ended.
   *
   * @param {string} method
   * @param {Record<string, unknown>} params
   * @param {Answered} answered
   * @param {{lasting?: boolean}} [options]
   * @returns {number}
   */
  post(method, params, answered, { lasting = false } = {}) {
    if (this.#end !== null) {
      throw this.#end;
    }
    const [id, frame] = this.#calls.add(method, params, answered, { lasting });
    if (this.connected) {
      this.#connection?.send(id, frame);
    }
    return id;
  }

  /**
   * Drop a call whose caller waits no more. Idempotent.
   *
   * @param {number} id
   */
  forget(id) {
    this.#calls.forget(id);
    this.#connection?.withdraw(id);
  }

  // Subscribers.

  /**
   * Keep a subscriber informed, from now on.
   *
   * @param {Subscriber} subscriber
   */
  attach(subscriber) {
    if (this.#end !== null) {
      subscriber.stopped(this.#end);
      return;
    }
    this.#subscribers.add(subscriber);
    if (this.connected) {
      subscriber.connected();
    }
  }

  /**
   * Leave a subscriber alone, from now on. Idempotent.
   *
   * @param {Subscriber} subscriber
   */
  detach(subscriber) {
    this.#subscribers.delete(subscriber);
  }

  /**
   * Hand what comes for subscription `number` of this connection to a subscriber.
   *
   * @param {number} number
   * @param {Subscriber} subscriber
   */
  route(number, subscriber) {
    this.#routes.add(number, subscriber);
  }

  /**
   * End a subscription; what still comes for its number is ignored.
   *
   * @param {number} number
   */
  unsubscribe(number) {
    this.#routes.remove(number);
    if (this.connected) {
      this.post("unsubscribe", { subscription: number }, () => {});
    }
  }

  // What comes in.

  /**
   * @param {Message} message
   * @param {number} size
   */
  #receive = (message, size) => {
    switch (message.type) {
      case "answer":
        this.#calls.settle(message.id, message, size);
        break;
      case "error":
        if (this.#admission !== null && message.error instanceof Unauthorized) {
          this.#connection?.abandon(message.error);
        } else {
          this.#calls.settle(message.id, message.error, size);
        }
        break;
      case "shutdown":
        this.#backoff.told(message.reconnectAfter);
        break;
      default:
        this.#routes.receive(message, size);
    }
  };
}
