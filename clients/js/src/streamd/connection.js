/**
 * One WebSocket: what is queued goes out in order, what comes in is parsed and handed on.
 *
 * @import { Environment } from "./environment.js"
 * @import { StreamdError } from "./errors.js"
 * @import { CallId, Message } from "./protocol.js"
 */

import { ConnectionLost, ConnectionRejected, ProtocolError, Unreachable } from "./errors.js";
import { encodeCall, parse } from "./protocol.js";

const OPEN_TIMEOUT = 10_000; // milliseconds for TCP, TLS and the handshake
const WRITE = 64 * 1024; // bytes that the socket is given beyond what it has sent
const WRITE_AGAIN = 20; // milliseconds until a full socket is looked at again: it does not call
const LOOKS = 4; // a silent link is looked at so often before it is given up

const KEEPALIVE_ID = "keepalive";

/**
 * Whether a close code means that a client must not come back.
 *
 * @param {number} code
 * @returns {boolean}
 */
export function isFinal(code) {
  return FINAL_CODES.has(code) || (code >= 4500 && code < 5000);
}

const FINAL_CODES = new Set([1002, 1003, 1007, 1008, 1009, 1010]);

/**
 * What a connection tells. Plain functions, called in the order of the wire; `ended` is the last,
 * called once: with `ConnectionLost` when the client may come back, `ConnectionRejected` or
 * `ProtocolError` when it may not.
 *
 * @typedef {object} Listener
 * @property {() => void} opened
 * @property {(message: Message, size: number) => void} received each message, and the length in
 *   characters of the frame it came in
 * @property {(error: StreamdError) => void} ended
 */

/**
 * What is used of a WebSocket: the platform's has it, and that of the package `ws`.
 *
 * @typedef {object} Socket
 * @property {number} bufferedAmount
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onerror
 * @property {((event: any) => void) | null} onclose
 * @property {(frame: string) => void} send
 * @property {(code: number) => void} close
 *
 * @typedef {new (url: string) => Socket} SocketClass
 */

/** The life of one WebSocket, from the attempt to open it to its end. */
export class Connection {
  #socket;
  #listener;
  #environment;
  #pingInterval;
  #pingTimeout;
  #open = false;
  #over = false;
  #heardAt = 0;
  #probing = false;
  #said = "";
  /** @type {Map<CallId, string>} */
  #unsent = new Map();
  /** @type {unknown} */
  #watch = null;
  /** @type {unknown} */
  #flush = null;

  /**
   * @param {string} url
   * @param {Listener} listener
   * @param {object} options
   * @param {SocketClass} options.WebSocket
   * @param {Environment} options.environment
   * @param {number} options.pingInterval milliseconds of silence after which the link is tried
   * @param {number} options.pingTimeout milliseconds it then has to show a sign of life
   */
  constructor(url, listener, { WebSocket, environment, pingInterval, pingTimeout }) {
    this.#listener = listener;
    this.#environment = environment;
    this.#pingInterval = pingInterval;
    this.#pingTimeout = pingTimeout;
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#opened();
    this.#socket.onmessage = (event) => this.#received(event.data);
    this.#socket.onerror = (event) => this.#failed(event);
    this.#socket.onclose = ({ code, reason }) => this.#end(this.#ending(code, reason));
    this.#watch = environment.setTimeout(
      () => this.abandon(new Unreachable("it did not answer in time")),
      OPEN_TIMEOUT,
    );
  }

  // Out.

  /**
   * Queue a frame; it is written when the server has taken those before it.
   *
   * @param {CallId} id
   * @param {string} frame
   */
  send(id, frame) {
    if (!this.#over) {
      this.#unsent.set(id, frame);
      this.#write();
    }
  }

  /**
   * Forget a queued frame, if it is not written yet.
   *
   * @param {CallId} id
   */
  withdraw(id) {
    this.#unsent.delete(id);
  }

  #write() {
    for (const [id, frame] of this.#unsent) {
      if (this.#socket.bufferedAmount >= WRITE) {
        this.#writeAgain();
        return;
      }
      this.#unsent.delete(id);
      this.#socket.send(frame);
    }
  }

  #writeAgain() {
    this.#flush ??= this.#environment.setTimeout(() => {
      this.#flush = null;
      this.#write();
    }, WRITE_AGAIN);
  }

  // In.

  #opened() {
    if (this.#over) {
      return;
    }
    this.#open = true;
    this.#heardAt = this.#environment.clock();
    this.#watchAfter(this.#pingInterval);
    this.#listener.opened();
  }

  /** @param {unknown} frame */
  #received(frame) {
    if (this.#over) {
      return;
    }
    this.#heardAt = this.#environment.clock();
    try {
      this.#tell(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError)) {
        throw error;
      }
      this.abandon(error);
    }
    if (this.#unsent.size > 0) {
      this.#write();
    }
  }

  /** @param {unknown} frame */
  #tell(frame) {
    if (typeof frame !== "string") {
      throw new ProtocolError("the server sent a binary frame");
    }
    for (const message of parse(frame)) {
      this.#listener.received(message, frame.length);
    }
  }

  // The watch.

  /** @param {number} milliseconds */
  #watchAfter(milliseconds) {
    this.#environment.clearTimeout(this.#watch);
    this.#watch = this.#environment.setTimeout(() => this.#look(), milliseconds);
  }

  #look() {
    const quiet = this.#environment.clock() - this.#heardAt;
    if (quiet < this.#pingInterval) {
      this.#watchAfter(this.#pingInterval - quiet);
    } else {
      this.probe();
    }
  }

  /** Find out now whether the link is dead: a ping, and any sign of life within `pingTimeout`. */
  probe() {
    if (!this.#open || this.#over || this.#probing) {
      return;
    }
    this.#probing = true;
    const later = [...this.#unsent];
    this.#unsent = new Map([[KEEPALIVE_ID, encodeCall(KEEPALIVE_ID, "ping", {})], ...later]);
    this.#write();
    this.#lookForAnswer(this.#environment.clock(), LOOKS);
  }

  /**
   * Look again and again: a stall of our own, as when the computer slept, costs one look, not all.
   *
   * @param {number} askedAt
   * @param {number} looks
   */
  #lookForAnswer(askedAt, looks) {
    this.#environment.clearTimeout(this.#watch);
    this.#watch = this.#environment.setTimeout(() => {
      if (this.#heardAt >= askedAt) {
        this.#probing = false;
        this.#look();
      } else if (looks > 1) {
        this.#lookForAnswer(askedAt, looks - 1);
      } else {
        const reason = "nothing was heard from the server, not even after a ping";
        this.abandon(new ConnectionLost(reason));
      }
    }, this.#pingTimeout / LOOKS);
  }

  // The end.

  /**
   * Leave the connection as it is, because of an error. Idempotent.
   *
   * @param {StreamdError} error
   */
  abandon(error) {
    this.#end(error); // first: the socket may call back within close()
    this.#socket.close(1000);
  }

  /** @param {StreamdError} error */
  #end(error) {
    if (this.#over) {
      return;
    }
    this.#over = true;
    this.#unsent.clear();
    this.#environment.clearTimeout(this.#watch);
    this.#environment.clearTimeout(this.#flush);
    this.#listener.ended(error);
  }

  /**
   * Browsers do not tell what went wrong; other WebSockets may.
   *
   * @param {unknown} event
   */
  #failed(event) {
    const { message } = /** @type {{message?: unknown}} */ (event);
    this.#said = typeof message === "string" ? message : "";
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @returns {StreamdError}
   */
  #ending(code, reason) {
    if (!this.#open) {
      return new Unreachable(this.#said || "no connection could be opened");
    }
    if (isFinal(code)) {
      return new ConnectionRejected(code, reason);
    }
    if (code === 1006) {
      return new ConnectionLost(this.#said || "it broke off without a close frame");
    }
    return new ConnectionLost(reason || "the server closed it", { code });
  }
}
