import assert from "node:assert/strict";
import { test } from "node:test";

import { ClientClosed, PlaceLost } from "../src/streamd/errors.js";
import { dropAfter } from "./fake_server.js";
import { eventually, pair } from "./harness.js";

/**
 * @import { Iteration } from "../src/streamd.js"
 * @import { FakeServer } from "./fake_server.js"
 */

/**
 * @param {FakeServer} server
 * @param {...number} list
 */
const push = (server, ...list) => list.forEach((n) => server.push({ n }));

/**
 * Return the `n` of the next so many entries.
 *
 * @param {Iteration} feed
 * @param {number} count
 */
async function take(feed, count) {
  const numbers = [];
  while (numbers.length < count) {
    const { value } = await feed.next();
    numbers.push(value?.event.n);
  }
  return numbers;
}

test("entries come with for await, through broken connections", async (t) => {
  const { server, client } = await pair(t);
  server.trick("subscribe", dropAfter);
  push(server, 1, 2);
  const seen = [];
  for await (const { event } of client.iterate()) {
    seen.push(event.n);
    if (event.n === 2) {
      server.peer.abort();
      push(server, 3);
    }
    if (event.n === 3) {
      await client.insert({ n: 4 });
    }
    if (event.n === 4) {
      break;
    }
  }
  assert.deepEqual(seen, [1, 2, 3, 4]);
  await eventually(() => server.called("unsubscribe").length === 1);
});

test("the cursor is the last entry whose body has finished", async (t) => {
  const { server, client } = await pair(t);
  push(server, 1, 2, 3);
  const feed = client.iterate({}, { after: "e1.0", backfill: 5 });
  const seen = [];
  for await (const entry of feed) {
    seen.push([entry.cursor, feed.cursor]);
    if (seen.length === 2) {
      break;
    }
  }
  assert.deepEqual(seen, [
    ["e1.1", "e1.0"],
    ["e1.2", "e1.1"],
  ]);
  assert.deepEqual([feed.cursor, feed.state, feed.live], ["e1.1", "closed", false]);
  assert.deepEqual(await feed.next(), { done: true, value: undefined });
});

test("a lost place is thrown in its place, and iterating again goes on", async (t) => {
  const { server, client } = await pair(t);
  push(server, 1, 2);
  const feed = client.iterate({}, { backfill: 1 });
  assert.deepEqual(await take(feed, 1), [2]);
  assert.equal(feed.before, "e1.2");
  server.peer.abort();
  server.newEpoch();
  push(server, 10, 11);
  /** @type {number[]} */
  const seen = [];
  try {
    for await (const { event } of feed) {
      seen.push(event.n);
    }
    assert.fail("no gap");
  } catch (error) {
    assert.ok(error instanceof PlaceLost);
    assert.deepEqual([error.reason, error.cursor], ["epoch", "e1.2"]);
  }
  for await (const { event } of feed) {
    seen.push(event.n);
    push(server, 12);
    if (seen.length === 3) {
      break;
    }
  }
  assert.deepEqual(seen, [11, 12, 12]);
});

test("a callback takes the place of the exception, and its errors reach the loop", async (t) => {
  const { server, client } = await pair(t);
  push(server, 1);
  /** @type {unknown[]} */
  const gaps = [];
  const feed = client.iterate(
    {},
    {
      after: "e0.7",
      onGap: async ({ reason }) => gaps.push(reason, (await client.items()).length),
    },
  );
  assert.deepEqual(await take(feed, 1), [1]);
  assert.deepEqual(gaps, ["epoch", 1]);
  const refusing = client.iterate(
    {},
    {
      after: "e0.7",
      onGap: () => {
        throw new RangeError("mine");
      },
    },
  );
  await assert.rejects(refusing.next(), RangeError);
  assert.deepEqual(await take(refusing, 1), [1]);
});

test("a slow reader costs bounded memory and loses nothing", async (t) => {
  const { server, client } = await pair(t);
  const feed = client.iterate({}, { after: "start" });
  await eventually(() => feed.live);
  push(server, ...Array.from({ length: 3_000 }, (_, n) => n));
  await eventually(() => feed.state === "paused");
  assert.deepEqual(
    await take(feed, 3_000),
    server.events.map(({ n }) => n),
  );
});

test("what ends the feed is thrown after what was received, and ever again", async (t) => {
  const { server, client } = await pair(t);
  push(server, 1, 2);
  const feed = client.iterate();
  await eventually(() => feed.live);
  server.peer.notify("closed", { subscription: 1, code: -32002, message: "no longer" });
  await eventually(() => feed.state === "closed");
  assert.deepEqual(await take(feed, 2), [1, 2]);
  await assert.rejects(feed.next(), { name: "Forbidden" });
  await assert.rejects(feed.next(), { name: "Forbidden" });
});

test("who waits is told when the client closes, or the loop is left", async (t) => {
  const { client } = await pair(t);
  const left = client.iterate();
  const waiting = left.next();
  await assert.rejects(left.next(), TypeError);
  assert.deepEqual(await left.return(), { done: true, value: undefined });
  assert.deepEqual(await waiting, { done: true, value: undefined });
  const feed = client.iterate();
  const next = feed.next();
  client.close();
  await assert.rejects(next, ClientClosed);
  await assert.rejects(feed.next(), ClientClosed);
  assert.throws(() => client.iterate(), ClientClosed);
});

test("what waits is dropped when the client closes", async (t) => {
  const { server, client } = await pair(t);
  push(server, 1, 2, 3);
  const feed = client.iterate();
  await eventually(() => feed.live);
  assert.deepEqual(await take(feed, 1), [1]);
  await eventually(() => feed.cursor === null);
  client.close();
  await assert.rejects(async () => {
    for await (const { event } of feed) {
      assert.equal(event.n, 2, "the one that was on its way");
    }
  }, ClientClosed);
});

test("nothing comes out of a feed that was left before it was read", async (t) => {
  const { server, client } = await pair(t);
  push(server, 1, 2);
  const feed = client.iterate();
  await eventually(() => feed.live);
  await feed.return();
  await client.ping();
  assert.deepEqual(await feed.next(), { done: true, value: undefined });
});

test("cursors are kept for a loop too", async (t) => {
  const { server, client } = await pair(t);
  push(server, 1, 2, 3);
  /** @type {string[]} */
  const saved = [];
  const cursors = { load: () => "e1.1", save: (/** @type {string} */ c) => saved.push(c) };
  for await (const { event } of client.iterate({}, { cursors })) {
    if (event.n === 3) {
      break;
    }
  }
  assert.deepEqual(saved, ["e1.2"]);
});
