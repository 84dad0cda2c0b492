import assert from "node:assert/strict";
import { test } from "node:test";

import { PlaceLost } from "../src/streamd/errors.js";
import { dropAfter, dropBefore, fail } from "./fake_server.js";
import { eventually, FakeTime, follow, numbers, pair, push } from "./harness.js";

// From the past into the future.

test("a feed gives the newest entries and then every further one", async (t) => {
  const { server, client } = await pair(t);
  push(server, numbers(30));
  const { feed, seen } = follow(client, { backfill: 3 });
  await eventually(() => seen.length === 3);
  push(server, [30, 31]);
  await eventually(() => seen.length === 5);
  assert.deepEqual(seen, [27, 28, 29, 30, 31]);
  assert.equal(feed.before, "e1.28");
  const page = await client.history({}, { before: feed.before, limit: 2 });
  assert.deepEqual(
    page.entries.map(({ event }) => event.n),
    [26, 25],
  );
});

test("only what matches comes, twenty first if nothing is said", async (t) => {
  const { server, client } = await pair(t);
  push(server, numbers(30), { user: 1 });
  const { seen } = follow(client, { filter: { user: new Set([1, 3]) } });
  await eventually(() => seen.length === 20);
  push(server, [99], { user: 2 });
  push(server, [30], { user: 3 });
  await eventually(() => seen.length === 21);
  assert.deepEqual(seen, numbers(21, 10));
});

test("a feed goes on after a stored cursor, or begins at the oldest entry", async (t) => {
  const { server, client } = await pair(t);
  push(server, numbers(10));
  const { feed, seen } = follow(client, { after: "e1.7" });
  await eventually(() => feed.cursor === "e1.10");
  assert.deepEqual(seen, [7, 8, 9]);
  server.floor = 4;
  const oldest = follow(client, { after: "start", backfill: 1 });
  assert.equal(oldest.feed.cursor, null);
  await eventually(() => oldest.feed.cursor === "e1.10");
  assert.deepEqual(oldest.seen, numbers(7, 3));
});

test("several feeds share a connection, and leave it", async (t) => {
  const { server, client } = await pair(t);
  const first = follow(client, { filter: { kind: "a" } });
  const second = follow(client, { filter: { kind: "b" } });
  await eventually(() => first.feed.live && second.feed.live);
  push(server, [1, 3], { kind: "a" });
  push(server, [2], { kind: "b" });
  await eventually(() => first.seen.length === 2 && second.seen.length === 1);
  first.feed.close();
  second.feed.close();
  await client.ping();
  assert.equal(server.opened, 1);
  assert.equal(server.called("unsubscribe").length, 2);
  push(server, [4], { kind: "a" });
  await client.ping();
  assert.deepEqual([first.seen, second.seen], [[1, 3], [2]]);
});

test("what comes right behind the answer is not lost, and of other numbers ignored", async (t) => {
  const { server, client } = await pair(t);
  server.trick("subscribe", (_, call) => {
    server.answer(call);
    push(server, numbers(50));
    call.peer.notify("event", { subscription: 99, cursor: "x", time: 0, event: { n: -1 } });
    call.peer.notify("progress", { subscription: 99, cursor: "x" });
    call.peer.notify("closed", { subscription: 99, code: -32007, message: "m" });
    call.peer.notify("weather", { sun: true });
  });
  const { seen } = follow(client);
  await eventually(() => seen.length === 50);
  await client.ping();
  assert.deepEqual(seen, numbers(50));
});

test("hostile names in an event are data", async (t) => {
  const { server, client } = await pair(t);
  const text = '{"__proto__":{"polluted":1},"constructor":{"prototype":2},"toString":3}';
  server.push(JSON.parse(text));
  /** @type {string[]} */
  const seen = [];
  client.subscribe({}, { onEntry: ({ event }) => seen.push(JSON.stringify(event)) });
  await eventually(() => seen.length === 1);
  assert.equal(seen[0], text);
  assert.equal(/** @type {any} */ ({}).polluted, undefined);
});

// Through broken connections.

test("a feed resumes without loss or repeats, and outlives a restart", async (t) => {
  const { server, client } = await pair(t);
  push(server, [1, 2, 3]);
  const { feed, seen } = follow(client, { backfill: 2 });
  await eventually(() => seen.length === 2);
  server.peer.abort();
  push(server, [4, 5]);
  await eventually(() => server.opened === 2);
  push(server, [6]);
  await eventually(() => seen.length === 5);
  await server.stop();
  push(server, [7]);
  await server.start();
  await eventually(() => seen.length === 6);
  await client.ping();
  assert.deepEqual(seen, [2, 3, 4, 5, 6, 7]);
  assert.equal(feed.before, "e1.2", "that of the backfill, and not of a resuming");
  assert.equal(server.called("subscribe")[1]?.params.after, "e1.3");
});

test("a lost answer to subscribe is asked for again, and so is a passing refusal", async (t) => {
  const { server, client } = await pair(t);
  push(server, [1]);
  server.trick(
    "subscribe",
    dropBefore,
    dropAfter,
    fail(-32011, { retry_after_ms: 1 }),
    fail(-32005),
  );
  const { feed, seen } = follow(client);
  await eventually(() => feed.live);
  await eventually(() => seen.length === 1);
  assert.equal(server.called("subscribe").length, 5);
});

test("a feed closed while there is no connection stays closed", async (t) => {
  const time = new FakeTime();
  const { server, client } = await pair(t, { environment: time });
  const first = follow(client).feed;
  const { feed, seen } = follow(client);
  await eventually(() => first.live && feed.live);
  server.peer.abort();
  await eventually(() => client.state === "waiting");
  feed.close();
  time.advance(10);
  await eventually(() => first.live);
  server.peer.notify("progress", { cursor: "e1.9" });
  server.peer.notify("event", { subscription: 2, cursor: "x", time: 0, event: { n: 1 } });
  await eventually(() => first.cursor === "e1.9");
  assert.deepEqual([feed.state, feed.cursor, seen], ["closed", "e1.0", []]);
});

test("the waits before subscribing again grow, until it is accepted", async (t) => {
  const time = new FakeTime();
  const { server, client } = await pair(t, { environment: { ...time, random: () => 1 } });
  server.trick("subscribe", fail(-32011), fail(-32011));
  const { feed } = follow(client);
  for (const wait of [200, 400]) {
    await eventually(() => time.pending.includes(wait));
    time.advance(wait);
  }
  await eventually(() => feed.live);
  server.peer.notify("closed", { subscription: 1, code: -32011, message: "m" });
  await eventually(() => time.pending.includes(200));
  feed.close();
  assert.ok(!time.pending.includes(200));
});

for (const seed of [1, 2, 3, 4]) {
  test(`whatever breaks, a feed equals the log (${seed})`, async (t) => {
    const random = dice(seed);
    const { server, client } = await pair(t);
    const filter = { kind: "a" };
    /** @type {number[]} */
    const seen = [];
    client.subscribe(filter, {
      after: "start",
      onEntry: ({ event }) => {
        seen.push(event.n);
        return random() < 0.02 ? new Promise((resolve) => setTimeout(resolve, 2)) : undefined;
      },
    });
    for (let n = 0; n < 1_500; n += 1) {
      server.push({ n, kind: n % 3 ? "a" : "b" });
      if (random() < 0.01) {
        [...server.peers].at(-1)?.abort();
      }
      if (random() < 0.3) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await eventually(() => seen.length >= 1_000);
    await client.ping();
    assert.deepEqual(
      seen,
      numbers(1_500).filter((n) => n % 3),
    );
  });
}

/** @param {number} seed */
function dice(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

// Lost places.

test("a gap is told in its place, and the feed goes on with a fresh backfill", async (t) => {
  const { server, client } = await pair(t);
  push(server, [1, 2]);
  /** @type {PlaceLost[]} */
  const gaps = [];
  const { feed, seen } = follow(client, {
    onGap: (/** @type {PlaceLost} */ gap) => {
      gaps.push(gap);
      seen.push("gap");
    },
  });
  await eventually(() => seen.length === 2);
  server.peer.abort();
  server.newEpoch();
  push(server, [10, 11]);
  await eventually(() => feed.cursor === "e2.2");
  push(server, [12]);
  await eventually(() => seen.length === 6);
  server.peer.notify("closed", {
    subscription: 1,
    code: -32007,
    message: "m",
    data: { reason: "expired" },
  });
  await eventually(() => seen.length === 10);
  assert.deepEqual(seen, [1, 2, "gap", 10, 11, 12, "gap", 10, 11, 12]);
  assert.deepEqual(
    gaps.map(({ code, reason, cursor }) => [code, reason, cursor]),
    [
      [-32007, "epoch", "e1.2"],
      [-32007, "expired", "e2.3"],
    ],
  );
  assert.equal("after" in server.called("subscribe")[2]?.params, false);
});

test("the callback of a gap may make calls, and is waited for", async (t) => {
  const { server, client } = await pair(t);
  const { feed, seen } = follow(client, {
    onGap: async () => seen.push(...(await client.items()).map(({ n }) => `item ${n}`)),
  });
  await eventually(() => feed.live);
  server.peer.abort();
  server.newEpoch();
  push(server, [2]);
  await eventually(() => seen.length === 2);
  assert.deepEqual(seen, ["item 2", 2]);
});
