import assert from "node:assert/strict";
import { test } from "node:test";

import { plainFilter } from "../src/streamd/values.js";

test("a filter is copied, and every collection is a list", () => {
  const users = [23, 291];
  const filter = plainFilter({ user: users, repo: new Set([1, 2]), kind: "watch", on: true });
  users.push(4);
  assert.deepEqual(filter, { user: [23, 291], repo: [1, 2], kind: "watch", on: true });
  assert.deepEqual(plainFilter(null), {});
  assert.deepEqual(plainFilter(undefined), {});
});

test("a key may have any name", () => {
  const filter = plainFilter({ ["__proto__"]: "a", constructor: "b" });
  assert.equal(JSON.stringify(filter), '{"__proto__":"a","constructor":"b"}');
});

test("what is no scalar is left for the server to refuse", () => {
  const odd = /** @type {any} */ ({ user: { id: 1 }, kind: null });
  assert.deepEqual(plainFilter(odd), odd);
});

test("what JSON would leave out does not make a filter that matches more", () => {
  for (const absent of [undefined, () => 1, Symbol("a")]) {
    const odd = /** @type {any} */ ({ user: absent });
    assert.equal(JSON.stringify(plainFilter(odd)), '{"user":null}');
  }
  for (const odd of /** @type {any[]} */ ([new Map([["user", 1]]), [1], "user", 1, true])) {
    assert.throws(() => plainFilter(odd), TypeError);
  }
});
