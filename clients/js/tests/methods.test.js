import assert from "node:assert/strict";
import { test } from "node:test";

import * as methods from "../src/streamd/methods.js";

test("an insert has an id of its own, or the given one", () => {
  const ids = Array.from({ length: 100 }, () => methods.insert({ a: 1 }).params.id);
  assert.equal(new Set(ids).size, 100);
  assert.ok(ids.every((id) => /^[\w-]{22}$/.test(String(id))));
  assert.deepEqual(methods.insert({ a: 1 }, "mine").params, { event: { a: 1 }, id: "mine" });
});

test("each of many events has an id", () => {
  const { method, params } = methods.insertMany(new Set([{ a: 1 }, { a: 2 }]), [null, "mine"]);
  assert.equal(method, "insert_many");
  assert.deepEqual(params.events, [{ a: 1 }, { a: 2 }]);
  const ids = /** @type {string[]} */ (params.ids);
  assert.deepEqual([ids.length, ids[0]?.length, ids[1]], [2, 22, "mine"]);
  assert.throws(() => methods.insertMany([{ a: 1 }], []), RangeError);
});

test("params are those of the wire", () => {
  const filter = { user: new Set([1]) };
  const plain = { user: [1] };
  assert.deepEqual(methods.items(filter, 1, 3).params, { filter: plain, start: 1, end: 3 });
  assert.deepEqual(methods.history(filter, null, 5).params, { filter: plain, limit: 5 });
  assert.deepEqual(methods.history(null, "b", 5).params, { filter: {}, limit: 5, before: "b" });
  const event = { a: 1 };
  assert.deepEqual(methods.explain(filter, { event }).params, { filter: plain, event });
  assert.deepEqual(methods.explain(null, { cursor: "c" }).params, { filter: {}, cursor: "c" });
  for (const what of [{}, { cursor: "c", event }, { cursor: null }]) {
    assert.throws(() => methods.explain(filter, what), TypeError);
  }
  assert.deepEqual(methods.subscriptions().params, {});
  assert.deepEqual(methods.info().params, {});
  assert.equal(methods.ping().read("pong"), "pong");
});
