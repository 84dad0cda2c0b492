import assert from "node:assert/strict";
import { test } from "node:test";

import { Keeper, localStorageCursors } from "../src/streamd/cursors.js";
import { here } from "../src/streamd/environment.js";
import { FakePage, FakeTime } from "./harness.js";

/** @param {Partial<import("../src/streamd.js").Cursors>} [cursors] */
function keeping(cursors) {
  const time = new FakeTime();
  const page = new FakePage();
  /** @type {{cursor: string | null, saved: string[]}} */
  const state = { cursor: null, saved: [] };
  const store = { load: () => "c0", save: (/** @type {string} */ c) => state.saved.push(c) };
  const environment = { ...here(), ...time, page: page.global };
  const keeper = new Keeper({ ...store, ...cursors }, environment, () => state.cursor);
  return { keeper, time, page, state };
}

test("the cursor is saved at most once a second", async () => {
  const { keeper, time, state } = keeping();
  assert.equal(await keeper.load(1_000), "c0");
  assert.deepEqual(time.pending, []);
  state.cursor = "c1";
  keeper.touch();
  time.advance(500);
  state.cursor = "c2";
  keeper.touch();
  time.advance(499);
  assert.deepEqual(state.saved, []);
  time.advance(1);
  assert.deepEqual(state.saved, ["c2"]);
  state.cursor = "c3";
  keeper.touch();
  time.advance(999);
  assert.deepEqual(state.saved, ["c2"]);
  time.advance(1);
  assert.deepEqual(state.saved, ["c2", "c3"]);
});

test("what is saved already is not saved again", async () => {
  const { keeper, time, state } = keeping();
  await keeper.load(1_000);
  keeper.touch();
  time.advance(1_000);
  state.cursor = "c0";
  keeper.touch();
  time.advance(1_000);
  assert.deepEqual(state.saved, []);
});

test("it is saved when the page goes, and when the feed is closed", async () => {
  const { keeper, page, time, state } = keeping();
  await keeper.load(1_000);
  state.cursor = "c1";
  keeper.touch();
  page.hide();
  assert.deepEqual(state.saved, ["c1"]);
  assert.deepEqual(time.pending, []);
  state.cursor = "c2";
  keeper.stop();
  keeper.stop();
  assert.deepEqual(state.saved, ["c1", "c2"]);
  state.cursor = "c3";
  page.hide();
  assert.deepEqual(state.saved, ["c1", "c2"]);
});

test("a store that fails is ignored", async () => {
  const fails = () => {
    throw new Error("full");
  };
  const broken = keeping({ load: fails, save: fails });
  assert.equal(await broken.keeper.load(1_000), null);
  broken.state.cursor = "c1";
  broken.keeper.flush();
  const rejecting = keeping({
    load: () => Promise.reject(fails),
    save: () => Promise.reject(fails),
  });
  assert.equal(await rejecting.keeper.load(1_000), null);
  rejecting.state.cursor = "c1";
  rejecting.keeper.flush();
  const odd = keeping({ load: () => /** @type {any} */ (7) });
  assert.equal(await odd.keeper.load(1_000), null);
});

test("a store that does not answer is not waited for", async () => {
  const { keeper, time } = keeping({ load: () => new Promise(() => {}) });
  const loading = keeper.load(1_000);
  time.advance(1_000);
  assert.equal(await loading, null);
});

test("localStorage keeps texts by name, and is touched only when it is needed", (t) => {
  const cursors = localStorageCursors("feed");
  assert.throws(() => cursors.load(), "Node's own has no file, a page's may be forbidden");
  const kept = new Map();
  Object.defineProperty(globalThis, "localStorage", {
    configurable: true,
    value: {
      getItem: (/** @type {string} */ name) => kept.get(name) ?? null,
      setItem: (/** @type {string} */ name, /** @type {string} */ text) => kept.set(name, text),
    },
  });
  t.after(() => Reflect.deleteProperty(globalThis, "localStorage"));
  assert.equal(cursors.load(), null);
  cursors.save("007");
  assert.equal(cursors.load(), "007");
  assert.deepEqual([...kept.keys()], ["feed"]);
});
