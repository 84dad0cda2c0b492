import assert from "node:assert/strict";
import { test } from "node:test";
import { Filter } from "../../streamd/dashboard/filter.js";
import { Log } from "../../streamd/dashboard/log.js";
import { Stream } from "../../streamd/dashboard/stream.js";

/** @typedef {import("../../streamd/dashboard/log.js").Entry} Entry */

/** @param {number} place @returns {Entry} */
const entry = (place) => ({ cursor: `c${place}`, time: place, event: { place } });

class Passing extends Error {}

/** A server of so many events, and what was asked of it. */
class Server {
  /** @type {any[]} */
  asked = [];
  /** @type {any} */
  callbacks = null;
  /** @type {any} */
  options = null;
  closed = 0;
  /** @type {Error[]} to be thrown by the next calls */
  errors = [];
  /** @type {Promise<void>} what the next answers wait for */
  gate = Promise.resolve();

  /** @param {number} size */
  constructor(size) {
    this.size = size;
  }

  /** @param {any} filter @param {{before?: string, limit: number}} page */
  async history(filter, { before, limit }) {
    this.asked.push({ filter, before, limit });
    await this.gate;
    const error = this.errors.shift();
    if (error) throw error;
    const end = before === undefined ? this.size : Number(before.slice(1));
    const start = Math.max(0, end - limit);
    const entries = Array.from({ length: end - start }, (_, at) => entry(end - 1 - at));
    return { entries, before: start > 0 ? `c${start}` : null, cursor: `c${this.size - 1}` };
  }

  /** @param {any} _filter @param {any} options */
  subscribe(_filter, options) {
    this.options = options;
    return { state: "live", close: () => this.closed++ };
  }
}

/** @param {number} size */
function open(size) {
  const server = new Server(size);
  const log = new Log();
  /** @type {Entry[]} */
  const live = [];
  let changes = 0;
  const stream = new Stream({
    client: /** @type {any} */ (server),
    log,
    isPassing: (error) => error instanceof Passing,
    onChange: () => changes++,
    onEntry: (each) => live.push(each),
  });
  stream.page = 10;
  return { server, log, stream, live, changed: () => changes };
}

/** @param {Log} log */
function shown(log) {
  return Array.from({ length: log.size }, (_, at) => {
    const item = log.at(log.newest - at);
    return item?.entry?.time ?? item?.gap;
  });
}

test("a page of history is followed by what comes after it", async () => {
  const { server, log, stream, live } = open(25);
  await stream.follow(new Filter().with("user", ["1"]));
  assert.equal(stream.state, "following");
  assert.deepEqual(server.asked[0], { filter: { user: ["1"] }, before: undefined, limit: 10 });
  assert.equal(server.options.after, "c24");
  server.options.onEntry(entry(25));
  assert.deepEqual(shown(log), [25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15]);
  assert.deepEqual(live, [entry(25)], "only what comes live is told");
});

test("older pages are added one at a time, to the beginning", async () => {
  const { server, log, stream } = open(25);
  await stream.follow(new Filter());
  assert(stream.wantsOlder);
  const first = stream.loadOlder();
  assert.equal(stream.older, "loading");
  assert.equal(await stream.loadOlder(), 0, "one at a time");
  await first;
  await stream.loadOlder();
  assert.equal(log.size, 25);
  assert.equal(log.before, null);
  assert(!stream.wantsOlder);
  await stream.loadOlder();
  assert.equal(server.asked.length, 3);
});

test("a failed older page is told, and can be asked for again", async () => {
  const { server, log, stream } = open(25);
  await stream.follow(new Filter());
  server.errors.push(new Error("no"));
  await stream.loadOlder();
  assert.equal(stream.older, "failed");
  assert.equal(stream.olderError?.message, "no");
  assert(!stream.wantsOlder, "it is not asked for again without being told to");
  await stream.loadOlder();
  assert.equal(stream.older, "idle");
  assert.equal(log.size, 20);
});

test("passing trouble is sat out; a refusal is told, and another filter goes on", async () => {
  const { server, log, stream } = open(5);
  server.errors.push(new Passing(), new Passing());
  await stream.follow(new Filter());
  assert.equal(stream.state, "following");
  server.errors.push(new Error("'colour' is not a declared key"));
  await stream.follow(new Filter().with("colour", ["red"]));
  assert.equal(stream.state, "failed");
  assert.match(stream.error?.message ?? "", /colour/);
  assert.equal(log.size, 0);
  assert.equal(server.closed, 1);
  await stream.follow(new Filter());
  assert.equal(stream.state, "following");
  assert.equal(stream.error, null);
  assert.equal(log.size, 5);
});

test("an answer to an earlier filter is dropped", async () => {
  const { server, log, stream } = open(5);
  let open_ = () => {};
  server.gate = new Promise((resolve) => (open_ = resolve));
  const first = stream.follow(new Filter().with("user", ["1"]));
  server.gate = Promise.resolve();
  await stream.follow(new Filter().with("user", ["2"]));
  const options = server.options;
  open_();
  await first;
  assert.equal(server.options, options, "only the later one is subscribed");
  assert.equal(log.size, 5);
});

test("an older page of an earlier filter is dropped", async () => {
  const { server, log, stream } = open(25);
  await stream.follow(new Filter());
  let open_ = () => {};
  server.gate = new Promise((resolve) => (open_ = resolve));
  const older = stream.loadOlder();
  server.gate = Promise.resolve();
  await stream.follow(new Filter().with("user", ["2"]));
  let openNext = () => {};
  server.gate = new Promise((resolve) => (openNext = resolve));
  const next = stream.loadOlder();
  open_();
  assert.equal(await older, 0);
  assert.equal(log.size, 10);
  assert.equal(stream.older, "loading", "the page of the later one is still on its way");
  openNext();
  await next;
  assert.equal(log.size, 20);
});

test("a gap is a line, and what is known already does not come again after it", async () => {
  const { server, log, stream } = open(3);
  await stream.follow(new Filter());
  server.options.onGap(Object.assign(new Error(), { data: { reason: "epoch" } }));
  for (const place of [1, 2, 3]) server.options.onEntry(entry(place));
  assert.deepEqual(shown(log), [3, "the log was replaced", 2, 1, 0]);
});

test("a feed that ends by an error has failed, and one that was closed has not", async () => {
  const { server, stream } = open(3);
  await stream.follow(new Filter());
  const { onState } = server.options;
  onState("closed", null);
  assert.equal(stream.state, "following");
  onState("closed", new Error("forbidden"));
  assert.equal(stream.state, "failed");
  await stream.follow(new Filter());
  onState("closed", new Error("late"));
  assert.equal(stream.state, "following", "what an earlier feed says is nothing");
});

test("what is older than a log that was replaced is gone", async () => {
  const { server, stream } = open(25);
  await stream.follow(new Filter());
  server.errors.push(Object.assign(new Error(), { data: { reason: "epoch" } }));
  await stream.loadOlder();
  assert.equal(stream.older, "gone");
  assert(!stream.wantsOlder);
});
