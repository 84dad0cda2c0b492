/** What several tests need. */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { connect } from "../src/streamd.js";
import { FakeServer } from "./fake_server.js";

const DEADLINE = 10_000; // milliseconds after which what a test waits for is not going to happen

/**
 * @import { Client } from "../src/streamd.js"
 * @typedef {import("node:test").TestContext} TestContext
 */

/**
 * Return the text of a file of the repository.
 *
 * @param {string} path relative to its root
 */
export function repositoryFile(path) {
  return readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
}

/**
 * Wait until something has come true.
 *
 * @param {() => unknown} condition
 */
export async function eventually(condition) {
  const deadline = performance.now() + DEADLINE;
  while (!condition()) {
    if (performance.now() > deadline) {
      throw new Error(`it did not come true: ${condition}`);
    }
    await sleep(1);
  }
}

/**
 * Start a fake server, and stop it after the test.
 *
 * @param {TestContext} t
 */
export async function fakeServer(t) {
  const server = await new FakeServer().start();
  t.after(() => server.stop());
  return server;
}

/**
 * Return a client that does not wait long between attempts, and close it after the test.
 *
 * @param {TestContext} t
 * @param {{url: string}} server
 * @param {Parameters<typeof connect>[1]} [options]
 */
export function connectedTo(t, server, options) {
  const client = connect(server.url, { backoff: () => 10, ...options });
  t.after(() => client.close());
  return client;
}

/**
 * Start a fake server and connect a client to it.
 *
 * @param {TestContext} t
 * @param {Parameters<typeof connect>[1]} [options]
 */
export async function pair(t, options) {
  const server = await fakeServer(t);
  return { server, client: connectedTo(t, server, options) };
}

/** A promise, and what settles it. */
export function deferred() {
  /** @type {(value?: any) => void} */
  let resolve = () => {};
  /** @type {Promise<any>} */
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Time that a test drives. */
export class FakeTime {
  now = 1_000_000;
  #handles = 0;
  /** @type {Map<number, {at: number, run: () => void}>} */
  #timers = new Map();

  clock = () => this.now;

  /**
   * @param {() => void} run
   * @param {number} milliseconds
   */
  setTimeout = (run, milliseconds) => {
    this.#handles += 1;
    this.#timers.set(this.#handles, { at: this.now + milliseconds, run });
    return this.#handles;
  };

  /** @param {number} handle */
  clearTimeout = (handle) => {
    this.#timers.delete(handle);
  };

  /** The milliseconds until each timer goes off, the next one first. */
  get pending() {
    return [...this.#timers.values()].map(({ at }) => at - this.now).sort((a, b) => a - b);
  }

  /**
   * Let time pass: run the timers that are due, in their order.
   *
   * @param {number} milliseconds
   */
  advance(milliseconds) {
    const end = this.now + milliseconds;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end);
      if (due.length === 0) {
        break;
      }
      const [handle, { at, run }] = due.reduce((first, each) =>
        each[1].at < first[1].at ? each : first,
      );
      this.#timers.delete(handle);
      this.now = Math.max(this.now, at);
      run();
    }
    this.now = end;
  }
}

/** A page that a test shows, hides and takes online. */
export class FakePage {
  #target = new EventTarget();
  #document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  /** @type {any} */
  global = {
    addEventListener: this.#target.addEventListener.bind(this.#target),
    removeEventListener: this.#target.removeEventListener.bind(this.#target),
    document: this.#document,
  };

  online() {
    this.#target.dispatchEvent(new Event("online"));
  }

  hide() {
    this.#target.dispatchEvent(new Event("pagehide"));
  }

  /** @param {"visible" | "hidden"} state */
  show(state) {
    this.#document.visibilityState = state;
    this.#document.dispatchEvent(new Event("visibilitychange"));
  }
}

/**
 * Return so many whole numbers.
 *
 * @param {number} count
 */
export const numbers = (count, from = 0) => Array.from({ length: count }, (_, n) => from + n);

/**
 * Have a server take an event `{n}` for each number.
 *
 * @param {FakeServer} server
 * @param {number[]} list
 * @param {Record<string, unknown>} [more]
 */
export const push = (server, list, more) => list.forEach((n) => server.push({ n, ...more }));

/**
 * Subscribe, and note the `n` of each entry, each gap's reason and each state.
 *
 * @param {Client} client
 * @param {Record<string, any>} [options]
 */
export function follow(client, { filter, ...options } = {}) {
  /** @type {(number | string)[]} */
  const seen = [];
  /** @type {[string, string | undefined][]} */
  const states = [];
  const feed = client.subscribe(filter, {
    onEntry: ({ event }) => void seen.push(event.n),
    onGap: ({ reason }) => void seen.push(`${reason}`),
    onState: (state, error) => void states.push([state, error?.name]),
    ...options,
  });
  return { feed, seen, states };
}
