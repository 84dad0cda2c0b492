/**
 * Which subscriber gets what comes for a number of this connection.
 *
 * @import { RpcError, StreamdError } from "./errors.js"
 * @import { Message } from "./protocol.js"
 * @import { Entry } from "./values.js"
 */

/**
 * What the link tells a feed. Plain functions, called in the order of the wire.
 *
 * @typedef {object} Subscriber
 * @property {() => void} connected a connection is open; nothing is subscribed on it yet
 * @property {() => void} disconnected the connection is gone, and the subscription with it
 * @property {(entry: Entry, size: number) => void} received an entry came, in a frame of so many
 *   characters
 * @property {(cursor: string, live: boolean) => void} progressed everything up to the cursor has
 *   been sent
 * @property {(error: RpcError) => void} closedByServer the server ended the subscription
 * @property {(error: StreamdError) => void} stopped the link has ended for good
 */

/** The subscribers of one connection, by the numbers of their subscriptions. */
export class Routes {
  /** @type {Map<number, Subscriber>} */
  #subscribers = new Map();

  /**
   * Hand what comes for subscription `number` to a subscriber.
   *
   * @param {number} number
   * @param {Subscriber} subscriber
   */
  add(number, subscriber) {
    this.#subscribers.set(number, subscriber);
  }

  /**
   * Ignore what still comes for a number.
   *
   * @param {number} number
   */
  remove(number) {
    this.#subscribers.delete(number);
  }

  /** Forget all numbers: their connection is gone. */
  clear() {
    this.#subscribers.clear();
  }

  /**
   * Tell who is concerned by a message; ignored where nobody is.
   *
   * @param {Message} message
   * @param {number} size the length in characters of the frame it came in
   */
  receive(message, size) {
    switch (message.type) {
      case "event":
        this.#subscribers.get(message.subscription)?.received(message.entry, size);
        break;
      case "progress":
        this.#progress(message.subscription, message.cursor, message.live);
        break;
      case "closed":
        this.#closed(message.subscription, message.error);
    }
  }

  /**
   * @param {number | null} number
   * @param {string} cursor
   * @param {boolean} live
   */
  #progress(number, cursor, live) {
    if (number === null) {
      this.#subscribers.forEach((subscriber) => subscriber.progressed(cursor, true));
    } else {
      this.#subscribers.get(number)?.progressed(cursor, live);
    }
  }

  /**
   * @param {number} number
   * @param {RpcError} error
   */
  #closed(number, error) {
    const subscriber = this.#subscribers.get(number);
    this.remove(number);
    subscriber?.closedByServer(error);
  }
}
