/**
 * The client: calls and feeds over one connection that comes back by itself.
 *
 * @import { SocketClass } from "./connection.js"
 * @import { Cursors } from "./cursors.js"
 * @import { Environment } from "./environment.js"
 * @import { PlaceLost, StreamdError } from "./errors.js"
 * @import { Callbacks } from "./feed.js"
 * @import { LinkState } from "./link.js"
 * @import { Call } from "./methods.js"
 * @import { Event, Explanation, Filter, History, Info, Inserted, Standing } from "./values.js"
 */

import { websocketUrl } from "./address.js";
import { fullJitter } from "./backoff.js";
import { Caller } from "./caller.js";
import { here, tell } from "./environment.js";
import { Feed } from "./feed.js";
import { Iteration } from "./iteration.js";
import { Link } from "./link.js";
import * as methods from "./methods.js";
import { encodeCall, MESSAGE_BYTES } from "./protocol.js";
import { plainFilter } from "./values.js";
import { Wakeups } from "./wakeups.js";

export const TIMEOUT = 10_000; // milliseconds
export const PING_INTERVAL = 25_000; // milliseconds
export const PING_TIMEOUT = 8_000; // milliseconds

/**
 * @typedef {object} Options
 * @property {() => string | Promise<string>} [getToken] gives the token that the server asks for;
 *   called for the first connection, and again where the server takes the last one no more
 * @property {number} [timeout] milliseconds that each call has, unless it is given its own
 * @property {number | null} [messageBytes] the server's limit `message_bytes`. A longer call fails
 *   alone with `LimitExceeded`; sent, it would end the connection. null sends any
 * @property {number} [pingInterval] milliseconds of silence after which the link is tried
 * @property {number} [pingTimeout] milliseconds it then has before a new connection is made
 * @property {(attempt: number) => number} [backoff] maps the number of the failed attempt
 *   (0, 1, 2 …) to the milliseconds before the next
 * @property {(state: LinkState, error: StreamdError | null) => unknown} [onState] told where the
 *   client stands, first and whenever that is another, with what is in the way: passing trouble
 *   while "connecting" and "waiting", the end's reason with "stopped"
 * @property {SocketClass} [WebSocket] the class to connect with; the platform's if not given
 */

/**
 * @typedef {object} FollowOptions
 * @property {number} [backfill] how many of the newest entries come first, where there is no place
 *   to go on from
 * @property {string | null} [after] a stored cursor to go on from; "start" for the oldest entry
 *   retained
 * @property {Cursors | null} [cursors] keeps the cursor from one visit to the next; what it has
 *   goes before `after`
 */

/**
 * Return a client, which connects in the background and again whenever it must.
 *
 * Throws a `TypeError` where `url` is no such URL, or there is no WebSocket.
 *
 * @param {string | URL} url `ws:` or `wss:`; `http:` and `https:` mean the same server, and a
 *   relative one is relative to the page
 * @param {Options & {environment?: Partial<Environment>}} [options]
 * @returns {Client}
 */
export function connect(url, options = {}) {
  const environment = { ...here(), ...options.environment };
  const base = environment.page.location?.href;
  return new Client(websocketUrl(url, base), { ...options, environment });
}

/**
 * A connection to a streamd server that lasts. Made by `connect`.
 *
 * Any number of calls may run at the same time; they are sent in the order they were made. A call
 * whose connection is lost is sent again on the next one. Passing errors of the server
 * (`RpcError.retryable`) are retried too. Each call takes `timeout` in milliseconds, and rejects
 * with
 *
 * - `RpcError`: the server's answer, by code one of its subclasses;
 * - `CallTimeout`: no answer in time;
 * - `ClientStopped`: the client was closed, or the server said not to come back.
 */
export class Client {
  #link;
  #caller;
  #wakeups;
  #environment;
  #timeout;
  #onState;

  /**
   * @param {string} url
   * @param {Options & {environment: Environment}} options
   */
  constructor(url, options) {
    const {
      environment,
      getToken = null,
      timeout = TIMEOUT,
      messageBytes = MESSAGE_BYTES,
      pingInterval = PING_INTERVAL,
      pingTimeout = PING_TIMEOUT,
      backoff = (attempt) => fullJitter(attempt, environment),
      onState,
      WebSocket = globalThis.WebSocket,
    } = options;
    if (WebSocket === undefined) {
      throw new TypeError("there is no WebSocket here: give one as the option WebSocket");
    }
    this.#environment = environment;
    this.#timeout = timeout;
    this.#onState = onState;
    this.#link = new Link(url, {
      getToken,
      timeout,
      messageBytes,
      backoff,
      pingInterval,
      pingTimeout,
      WebSocket,
      environment,
      moved: () => this.#moved(),
    });
    this.#caller = new Caller(this.#link, environment);
    this.#wakeups = new Wakeups(environment.page, () => this.wake());
    this.#wakeups.start();
    this.#link.start();
  }

  // Life.

  /** Close the connection; every waiting call and feed gets `ClientClosed`. Idempotent. */
  close() {
    this.#link.close();
  }

  /**
   * Connect now if the next attempt waits; else find out whether the connection is dead.
   *
   * As when the browser is online again, or the page is seen again.
   */
  wake() {
    this.#link.wake();
  }

  /** Where the client stands. */
  get state() {
    return this.#link.state;
  }

  /** Whether there is a connection now. */
  get connected() {
    return this.#link.connected;
  }

  /** Why there is no connection now, if that is known and may pass; else null. */
  get trouble() {
    return this.#link.trouble;
  }

  /** When the next attempt begins, in milliseconds since 1970; null where none waits. */
  get retryAt() {
    const at = this.#link.retryAt;
    return at === null ? null : Math.round(Date.now() + at - this.#environment.clock());
  }

  #moved() {
    const { state, trouble, end } = this.#link;
    if (state === "stopped") {
      this.#wakeups.stop();
      this.#caller.hurry();
    }
    const { report } = this.#environment;
    queueMicrotask(() => tell(() => this.#onState?.(state, end ?? trouble), report));
  }

  // Inserting.

  /**
   * Store an event and return its place, once however often it has to be sent.
   *
   * `id` identifies this insert for repeats within the server's memory of ids (10 minutes by
   * default), at most 128 bytes; random when not given. Give one to repeat an insert safely whose
   * outcome you never learnt. Rejects also with `UnknownOutcome`: the server does not know whether
   * it stored the event; `InvalidParams`: the event cannot be stored, or the id belongs to another.
   *
   * @param {Event} event any JSON object
   * @param {{id?: string | null, timeout?: number}} [options]
   * @returns {Promise<Inserted>}
   */
  async insert(event, { id, timeout } = {}) {
    return this.#call(methods.insert(event, id), timeout);
  }

  /**
   * Store all the events or none, with consecutive places, in one call.
   *
   * Rejects also with a `RangeError`: there are more or fewer ids than events; `LimitExceeded`:
   * there are more events than the server takes in one call.
   *
   * @param {Iterable<Event>} events
   * @param {{ids?: (string | null)[] | null, timeout?: number}} [options] one id for each event,
   *   as in `insert`; null or absent ones are made here
   * @returns {Promise<Inserted[]>}
   */
  async insertMany(events, { ids, timeout } = {}) {
    return this.#call(methods.insertMany(events, ids), timeout);
  }

  // Asking.

  /**
   * Return the events from `start` up to and without `end`, counted from the newest.
   *
   * @param {Filter | null} [filter] `{kind: "friend", user: [23, 291]}`
   * @param {{start?: number, end?: number, timeout?: number}} [options]
   * @returns {Promise<Event[]>}
   */
  async items(filter, { start = 0, end = 20, timeout } = {}) {
    return this.#call(methods.items(filter, start, end), timeout);
  }

  /**
   * Return a page of entries, newest first, that does not shift while events arrive.
   *
   * `before` is that of the page before, none for the newest page; `limit` the most entries to
   * return. A page may be shorter and yet not the last.
   *
   * @param {Filter | null} [filter]
   * @param {{before?: string | null, limit?: number, timeout?: number}} [options]
   * @returns {Promise<History>}
   */
  async history(filter, { before, limit = 20, timeout } = {}) {
    return this.#call(methods.history(filter, before, limit), timeout);
  }

  /**
   * Tell key by key why an entry, or such an event, does or does not match a filter.
   *
   * Rejects also with a `TypeError`: neither a cursor nor an event is given, or both; `PlaceLost`:
   * the entry is no longer retained, or of another log.
   *
   * @param {Filter | null | undefined} filter
   * @param {{cursor?: string | null, event?: Event | null, timeout?: number}} what the place of an
   *   entry, or any JSON object, which is not stored
   * @returns {Promise<Explanation>}
   */
  async explain(filter, { timeout, ...what }) {
    return this.#call(methods.explain(filter, what), timeout);
  }

  /**
   * Return how far the subscriptions of this connection are, as the server has it.
   *
   * @param {{timeout?: number}} [options]
   * @returns {Promise<Standing[]>}
   */
  async subscriptions({ timeout } = {}) {
    return this.#call(methods.subscriptions(), timeout);
  }

  /**
   * Return what the server says about itself: version, keys, limits, the newest place.
   *
   * @param {{timeout?: number}} [options]
   * @returns {Promise<Info>}
   */
  async info({ timeout } = {}) {
    return this.#call(methods.info(), timeout);
  }

  /**
   * Return the milliseconds that a call and its answer take, waiting for a connection included.
   *
   * @param {{timeout?: number}} [options]
   * @returns {Promise<number>}
   */
  async ping({ timeout } = {}) {
    const { clock } = this.#environment;
    const started = clock();
    await this.#call(methods.ping(), timeout);
    return clock() - started;
  }

  // Following.

  /**
   * Have `onEntry` called with what matches, oldest first; return the feed, to be closed.
   *
   * Throws a `TypeError` where the filter cannot be written as JSON, and why the client has ended
   * if it has.
   *
   * @param {Filter | null} [filter]
   * @param {FollowOptions & Callbacks} [options]
   * @returns {Feed}
   */
  subscribe(filter, { onEntry, onState, onGap, ...follow } = {}) {
    return this.#follow(filter, follow, { onEntry, onState, onGap });
  }

  /**
   * Return the feed of what matches, for `for await`.
   *
   * `onGap` is called, and waited for, with the `PlaceLost` where entries may have been missed,
   * after which the iteration goes on; without it the iteration throws. Throws as `subscribe`.
   *
   * @param {Filter | null} [filter]
   * @param {FollowOptions & {onGap?: (gap: PlaceLost) => unknown}} [options]
   * @returns {Iteration}
   */
  iterate(filter, { onGap, ...follow } = {}) {
    return new Iteration((callbacks) => this.#follow(filter, follow, callbacks), onGap);
  }

  /**
   * @param {Filter | null | undefined} filter
   * @param {FollowOptions} options
   * @param {Callbacks} callbacks
   * @returns {Feed}
   */
  #follow(filter, { backfill = 20, after = null, cursors = null }, callbacks) {
    if (this.#link.end !== null) {
      throw this.#link.end;
    }
    const plain = plainFilter(filter);
    encodeCall(0, "subscribe", plain); // here, where the mistake is, and not at a reconnect
    const options = { filter: plain, backfill, after, cursors };
    const { environment, timeout } = { environment: this.#environment, timeout: this.#timeout };
    return new Feed(this.#link, { ...options, environment, timeout }, callbacks);
  }

  /**
   * @template T
   * @param {Call<T>} call
   * @param {number} [timeout]
   * @returns {Promise<T>}
   */
  async #call({ method, params, read }, timeout = this.#timeout) {
    return read(await this.#caller.call(method, params, timeout));
  }
}
