/** The way from the server into the log: a page of history, what follows it, and older pages. */

import { isObject } from "./values.js";

/** @typedef {import("./log.js").Entry} Entry */
/** @typedef {import("./log.js").Log} Log */
/** @typedef {import("./filter.js").Filter} Filter */
/** @typedef {import("/streamd.js").Client} Client */
/** @typedef {import("/streamd.js").Feed} Feed */

/**
 * `loading`: the first page is asked for · `following`: what happens is added · `failed`: the
 * server refused, `error` says why.
 *
 * @typedef {"loading" | "following" | "failed"} StreamState
 */

/**
 * @typedef {object} StreamOptions
 * @property {Client} client
 * @property {Log} log where everything goes
 * @property {(error: unknown) => boolean} isPassing whether the same call may do better later
 * @property {() => void} onChange called after the state changed
 * @property {(entry: Entry) => void} onEntry called for each entry that comes live
 */

const KNOWN = 1_000;

/** @type {Record<string, string>} */
const GAPS = {
  epoch: "the log was replaced",
  expired: "the server no longer keeps what came meanwhile",
};

/** Follows one filter at a time. */
export class Stream {
  /** @type {StreamState} */
  state = "loading";
  /** Why it failed. @type {Error | null} */
  error = null;
  /**
   * How it stands with the next older page; it is gone where it was of a log that was replaced.
   *
   * @type {"idle" | "loading" | "failed" | "gone"}
   */
  older = "idle";
  /** Why the older page failed. @type {Error | null} */
  olderError = null;
  /** How many entries are asked for at once. */
  page = 100;

  #options;
  /** @type {Feed | null} */
  #feed = null;
  /** @type {Filter | null} */
  #filter = null;
  /** Entries that a backfill after a gap may bring once more. @type {Set<string>} */
  #known = new Set();
  /** A number for each filter, so that answers to an earlier one are dropped. */
  #turn = 0;

  /** @param {StreamOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Where the feed stands; null before there is one. */
  get feedState() {
    return this.#feed?.state ?? null;
  }

  /** Whether an older page can be had. */
  get wantsOlder() {
    const { log } = this.#options;
    return this.state === "following" && this.older === "idle" && log.before !== null;
  }

  /** Follow nothing more. */
  close() {
    this.#turn++;
    this.#feed?.close();
    this.#feed = null;
  }

  /**
   * Follow what matches a filter, from the newest page on.
   *
   * @param {Filter} filter
   */
  async follow(filter) {
    this.close();
    const turn = this.#turn;
    this.#filter = filter;
    this.#known = new Set();
    this.error = null;
    this.older = "idle";
    this.olderError = null;
    this.#options.log.clear();
    this.#change("loading");
    try {
      const page = await this.#history(turn);
      if (turn === this.#turn) this.#start(filter, page, turn);
    } catch (error) {
      if (turn === this.#turn) this.#fail(/** @type {Error} */ (error));
    }
  }

  /** Add the next older page to the log; return how many newest items left the list for it. */
  async loadOlder() {
    const { log, onChange } = this.#options;
    if (this.older === "loading" || this.state !== "following" || log.before === null) return 0;
    const turn = this.#turn;
    const generation = log.generation;
    this.older = "loading";
    onChange();
    try {
      const page = await this.#history(turn, log.before);
      // What the list was asked to go on from may have left it meanwhile.
      if (turn !== this.#turn) return 0;
      this.older = "idle";
      this.olderError = null;
      return generation === log.generation ? log.older(page) : 0;
    } catch (error) {
      if (turn !== this.#turn) return 0;
      this.older = reasonOf(error) === "epoch" ? "gone" : "failed";
      this.olderError = /** @type {Error} */ (error);
      return 0;
    } finally {
      if (turn === this.#turn) onChange();
    }
  }

  /**
   * @param {number} turn
   * @param {string} [before]
   */
  async #history(turn, before) {
    const { client, isPassing } = this.#options;
    for (;;) {
      try {
        return await client.history(this.#filter?.toObject(), { before, limit: this.page });
      } catch (error) {
        // The client has tried for as long as a call may take: nobody here gives up before it.
        if (!isPassing(error) || turn !== this.#turn) throw error;
      }
    }
  }

  /**
   * @param {Filter} filter
   * @param {import("./log.js").Page & {cursor: string}} page
   * @param {number} turn
   */
  #start(filter, page, turn) {
    const { client, log, onChange } = this.#options;
    log.start(page);
    this.#feed = client.subscribe(filter.toObject(), {
      after: page.cursor,
      backfill: this.page,
      onEntry: (entry) => this.#take(/** @type {Entry} */ (entry)),
      onGap: (gap) => this.#note(gap),
      onState: (state, error) => {
        if (turn !== this.#turn) return;
        if (state === "closed" && error) this.#fail(error);
        else onChange();
      },
    });
    this.#change("following");
  }

  /** @param {Entry} entry */
  #take(entry) {
    if (this.#known.has(entry.cursor)) return;
    this.#options.log.add(entry);
    this.#options.onEntry(entry);
  }

  /** @param {Error} gap */
  #note(gap) {
    const entries = [...this.#options.log.entries()].slice(-KNOWN);
    this.#known = new Set(entries.map(({ cursor }) => cursor));
    this.#options.log.addGap(GAPS[reasonOf(gap)] ?? gap.message);
    this.#options.onChange();
  }

  /** @param {Error} error */
  #fail(error) {
    this.error = error;
    this.#change("failed");
  }

  /** @param {StreamState} state */
  #change(state) {
    this.state = state;
    this.#options.onChange();
  }
}

/**
 * Return the reason in an error's data, empty when there is none.
 *
 * @param {unknown} error
 */
function reasonOf(error) {
  const data = isObject(error) ? error.data : null;
  return isObject(data) && typeof data.reason === "string" ? data.reason : "";
}
