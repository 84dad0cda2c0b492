/** The client, and what is learnt and followed through it; a new one where a token is needed. */

import { CallTimeout, RpcError, connect } from "/streamd.js";
import { whyNot } from "./explain.js";
import { Stream } from "./stream.js";
import { asksForToken, isForbidden } from "./token.js";

/** @typedef {import("./filter.js").Filter} Filter */
/** @typedef {import("./log.js").Entry} Entry */
/** @typedef {import("./log.js").Log} Log */
/** @typedef {import("/streamd.js").Client} Client */
/** @typedef {import("/streamd.js").Info} Info */

const PAGE = 100;
const ASKED = "This server asks for a token.";

/**
 * @typedef {object} ConnectionOptions
 * @property {Log} log where the entries go
 * @property {Filter} filter what to follow first
 * @property {(entry: Entry) => void} onEntry called for each entry that comes live
 * @property {(info: Info) => void} onInfo called when it is known who serves, and again
 * @property {(milliseconds: number | null) => void} onPing called with the round trip
 * @property {(why: string, options: {refused: boolean}) => void} onTokenNeeded called when the
 *   server lets nobody in without one, or takes the last one no more
 * @property {() => void} onChange called when anything else changed
 */

/** The way to the server. */
export class Connection {
  /** Why nothing works until another client is opened. @type {Error | null} */
  stopped = null;

  #options;
  #filter;
  #learnt = false;
  /** Kept here and nowhere else. @type {string | null} */
  #token = null;
  #forbidden = false;
  /** @type {Client} */
  #client;
  /** @type {Stream} */
  #stream;

  /** @param {ConnectionOptions} options */
  constructor(options) {
    this.#options = options;
    this.#filter = options.filter;
    [this.#client, this.#stream] = this.#make();
  }

  /** What follows the filter. */
  get stream() {
    return this.#stream;
  }

  /** Whether a token, or another one, may make a difference. */
  get mayTakeToken() {
    return this.#token !== null || this.#forbidden || isForbidden(this.#stream.error);
  }

  /**
   * Begin anew as somebody else.
   *
   * @param {string} token
   */
  open(token) {
    this.#token = token;
    this.#open();
  }

  /** Begin anew after the end; where the token was the reason, ask for another first. */
  again() {
    if (asksForToken(this.stopped)) this.#ask();
    else this.#open();
  }

  /** Connect now if the next attempt waits. */
  wake() {
    this.#client.wake();
  }

  /**
   * Follow a filter, as soon as the server is known.
   *
   * @param {Filter} filter
   */
  follow(filter) {
    this.#filter = filter;
    if (this.#learnt) this.#stream.follow(filter);
  }

  /**
   * Insert an event.
   *
   * @param {Record<string, unknown>} event
   */
  async insert(event) {
    try {
      return await this.#client.insert(/** @type {import("/streamd.js").Event} */ (event));
    } catch (error) {
      this.#forbidden ||= isForbidden(error);
      this.#options.onChange();
      throw error;
    }
  }

  /**
   * Return why an entry does not come, empty if it does or nobody knows.
   *
   * @param {string} cursor
   */
  async whyNot(cursor) {
    try {
      return whyNot(await this.#client.explain(this.#filter.toObject(), { cursor }));
    } catch {
      return "";
    }
  }

  /** Measure the round trip. */
  async ping() {
    const client = this.#client;
    if (!client.connected) return;
    const time = await client.ping().catch(() => null);
    if (client === this.#client) this.#options.onPing(time);
  }

  /**
   * Where the connection stands, for those who look at the page.
   *
   * @param {boolean} paused
   * @returns {import("./status.js").Situation}
   */
  situation(paused) {
    const { state, retryAt } = this.#client;
    const client = this.stopped ? "stopped" : state;
    const [feed, trouble] = [this.#stream.feedState, this.#trouble];
    return { client, feed, paused, retryAt, trouble, asked: asksForToken(this.stopped) };
  }

  get #trouble() {
    const error = this.stopped ?? this.#client.trouble;
    return this.#token === null && asksForToken(error) ? ASKED : (error?.message ?? "");
  }

  #open() {
    this.#stream.close();
    this.#client.close();
    this.stopped = null;
    this.#learnt = false;
    this.#forbidden = false;
    [this.#client, this.#stream] = this.#make();
    this.#options.onChange();
  }

  /** @returns {[Client, Stream]} */
  #make() {
    const token = this.#token;
    const client = connect("/", {
      ...(token === null ? {} : { getToken: () => token }),
      onState: (state, error) => {
        // When this function has returned: it may be told the first state before.
        queueMicrotask(() => client === this.#client && this.#changed(state, error));
      },
    });
    const { log, onChange, onEntry } = this.#options;
    return [client, new Stream({ client, log, isPassing, onChange, onEntry })];
  }

  /**
   * @param {string} state
   * @param {Error | null} error
   */
  #changed(state, error) {
    if (state === "connected") this.#learn();
    else this.#options.onPing(null);
    if (state === "stopped" && error && !this.stopped) this.#stop(error);
    this.#options.onChange();
  }

  async #learn() {
    const client = this.#client;
    try {
      const info = await client.info();
      if (client === this.#client) this.#begin(info);
    } catch (error) {
      if (client !== this.#client || !(error instanceof Error)) return;
      if (!isPassing(error)) this.#stop(error);
      else if (client.connected) this.#learn();
    }
  }

  /** @param {Info} info */
  #begin(info) {
    this.#stream.page = Math.min(PAGE, info.limits.limit ?? PAGE, info.limits.backfill ?? PAGE);
    this.#options.onInfo(info);
    this.ping();
    if (this.#learnt) return;
    this.#learnt = true;
    this.#stream.follow(this.#filter);
  }

  /** @param {Error} error */
  #stop(error) {
    this.stopped = error;
    this.#client.close(); // The next token comes with another.
    if (asksForToken(error)) this.#ask();
    this.#options.onChange();
  }

  #ask() {
    this.#options.onTokenNeeded(this.#trouble, { refused: this.#token !== null });
  }
}

/** @param {unknown} error */
function isPassing(error) {
  return error instanceof CallTimeout || (error instanceof RpcError && error.retryable);
}
