import assert from "node:assert/strict";
import { test } from "node:test";

import { PlaceLost } from "../src/streamd/errors.js";
import { Inbox, MAX_ENTRIES, MAX_SIZE } from "../src/streamd/inbox.js";

/** @param {number} n */
const entry = (n) => ({ cursor: `c${n}`, time: n, event: { n } });

/** @param {string} [cursor] */
const gap = (cursor) => new PlaceLost(-32007, "m", { reason: "expired" }, cursor);

test("entries are taken in order, and finished when the next is asked for", () => {
  const inbox = new Inbox("c0");
  inbox.put(entry(1), 10);
  inbox.put(entry(2), 10);
  assert.deepEqual([inbox.position, inbox.cursor, inbox.length], ["c2", "c0", 2]);
  assert.deepEqual(inbox.take(), entry(1));
  assert.equal(inbox.cursor, "c0");
  assert.deepEqual(inbox.take(), entry(2));
  assert.equal(inbox.cursor, "c1");
  assert.equal(inbox.done, false);
  assert.equal(inbox.take(), null);
  assert.equal(inbox.cursor, "c2");
  assert.equal(inbox.done, true);
});

test("start is where to subscribe, and no place", () => {
  const inbox = new Inbox("start");
  assert.deepEqual([inbox.position, inbox.cursor], ["start", null]);
});

test("a mark moves the cursor when everything before it is finished", () => {
  const inbox = new Inbox();
  inbox.mark("c5");
  assert.deepEqual([inbox.position, inbox.cursor], ["c5", "c5"]);
  inbox.put(entry(6), 10);
  inbox.take();
  inbox.mark("c7");
  inbox.mark("c8");
  assert.deepEqual([inbox.position, inbox.cursor], ["c8", "c5"]);
  assert.equal(inbox.take(), null);
  assert.equal(inbox.cursor, "c8");
});

test("it is full by entries, or by their size", () => {
  const many = new Inbox();
  for (let n = 0; n < MAX_ENTRIES; n += 1) {
    assert.ok(many.hasRoom(1));
    many.put(entry(n), 1);
  }
  assert.equal(many.hasRoom(1), false);
  many.take();
  assert.ok(many.hasRoom(1));
  const large = new Inbox();
  assert.ok(large.hasRoom(MAX_SIZE + 1), "an empty one takes any");
  large.put(entry(1), MAX_SIZE - 5);
  assert.ok(large.hasRoom(5));
  assert.equal(large.hasRoom(6), false);
  large.take();
  assert.ok(large.hasRoom(MAX_SIZE));
});

test("a gap stands in its place, and a newer one takes the place of one not seen", () => {
  const inbox = new Inbox();
  inbox.put(entry(1), 10);
  inbox.gap(gap("c1"));
  assert.equal(inbox.position, null);
  inbox.put(entry(2), 10);
  inbox.mark("c3");
  const last = gap("c3");
  inbox.gap(last);
  inbox.put(entry(4), 7);
  assert.equal(inbox.length, 2);
  assert.deepEqual(inbox.take(), entry(1));
  assert.equal(inbox.take(), last);
  assert.equal(inbox.cursor, "c1");
  assert.deepEqual(inbox.take(), entry(4));
  assert.equal(inbox.take(), null);
  inbox.put(entry(5), MAX_SIZE);
  assert.equal(inbox.length, 1);
});

test("what waits can be dropped, and the cursor stays", () => {
  const inbox = new Inbox();
  inbox.put(entry(1), 10);
  inbox.put(entry(2), 10);
  inbox.take();
  inbox.clear();
  assert.equal(inbox.length, 0);
  assert.equal(inbox.take(), null);
  assert.equal(inbox.cursor, "c1");
});
