import assert from "node:assert/strict";
import { test } from "node:test";

import {
  CallTimeout,
  ClientClosed,
  ConnectionLost,
  InvalidParams,
  LimitExceeded,
  RpcError,
  Unreachable,
} from "../src/streamd/errors.js";
import { dropAfter, dropBefore, fail, hold, ignore } from "./fake_server.js";
import { connectedTo, deferred, eventually, fakeServer, FakeTime, pair } from "./harness.js";

const WATCH = { kind: "watch", user: 291, repo: 2842 };

/**
 * Return so many copies of a trick.
 *
 * @template T
 * @param {number} count
 * @param {T} trick
 * @returns {T[]}
 */
const times = (count, trick) => Array.from({ length: count }, () => trick);

/** Time that passes when somebody waits for it. */
class WaitedFor extends FakeTime {
  /** @param {number} milliseconds */
  async passes(milliseconds) {
    await eventually(() => this.pending.includes(milliseconds));
    this.advance(milliseconds);
  }
}

/**
 * Start a fake server and connect a client whose time stands still, and whose waits are the least.
 *
 * @param {import("./harness.js").TestContext} t
 * @param {{timeout?: number}} [options]
 */
async function paused(t, options) {
  const time = new WaitedFor();
  const environment = { ...time, random: () => 0 };
  return { ...(await pair(t, { environment, ...options })), time };
}

// Connections come and go.

test("an insert whose answer was lost is stored once", async (t) => {
  const { server, client } = await pair(t);
  server.trick("insert", dropAfter);
  const inserted = await client.insert(WATCH);
  assert.equal(inserted.duplicate, true);
  assert.deepEqual(server.events, [WATCH]);
  const [first, second] = server.called("insert");
  assert.equal(first?.params.id, second?.params.id);
  assert.notEqual(first?.peer, second?.peer);
});

test("an insert that never arrived is stored", async (t) => {
  const { server, client } = await pair(t);
  server.trick("insert", dropBefore);
  assert.equal((await client.insert(WATCH)).duplicate, false);
  assert.deepEqual(server.events, [WATCH]);
});

test("many inserts are stored once and in order through broken connections", async (t) => {
  const { server, client } = await pair(t);
  server.trick("insert", ...times(5, [dropAfter, dropBefore]).flat());
  const events = Array.from({ length: 300 }, (_, n) => ({ n }));
  await Promise.all(events.map((event) => client.insert(event)));
  assert.deepEqual(server.events, events);
  assert.equal(server.opened, 11);
});

test("many events of one call are stored once", async (t) => {
  const { server, client } = await pair(t);
  server.trick("insert_many", dropAfter);
  const inserted = await client.insertMany([WATCH, WATCH], { ids: [null, "mine"] });
  assert.deepEqual(
    inserted.map(({ duplicate }) => duplicate),
    [true, true],
  );
  assert.deepEqual(server.events, [WATCH, WATCH]);
  const [first, second] = server.called("insert_many");
  assert.deepEqual(first?.params, second?.params);
  assert.equal(first?.params.ids[1], "mine");
});

test("queries are repeated too", async (t) => {
  const { server, client } = await pair(t);
  server.push(WATCH);
  for (const method of ["items", "history", "info", "ping"]) {
    server.trick(method, dropBefore);
  }
  assert.deepEqual(await client.items(), [WATCH]);
  assert.equal((await client.history()).entries.length, 1);
  assert.deepEqual((await client.info()).keys, ["user", "kind", "repo"]);
  await client.ping();
  assert.equal(server.opened, 5);
});

test("calls made while there is no connection wait for one", async (t) => {
  const server = await fakeServer(t);
  await server.stop();
  const client = connectedTo(t, server);
  const calls = [0, 1, 2, 3, 4].map((n) => client.insert({ n }));
  await server.start();
  await Promise.all(calls);
  assert.deepEqual(
    server.events,
    [0, 1, 2, 3, 4].map((n) => ({ n })),
  );
});

// Passing errors.

for (const [code, name] of /** @type {[number, string][]} */ ([
  [-32005, "RateLimited"],
  [-32010, "UnknownOutcome"],
  [-32011, "StoreUnavailable"],
])) {
  test(`${name} is retried with the same id, and thrown at the deadline`, async (t) => {
    const { server, client, time } = await paused(t);
    server.trick("insert", fail(code), fail(code, { retry_after_ms: 700 }));
    const inserting = client.insert(WATCH);
    await time.passes(100);
    await time.passes(700);
    await inserting;
    assert.deepEqual(server.events, [WATCH]);
    assert.equal(new Set(server.called("insert").map(({ params }) => params.id)).size, 1);
    assert.equal(server.called("insert").length, 3);
    server.trick("insert", ...times(50, fail(code)));
    const failed = assert.rejects(client.insert(WATCH, { timeout: 250 }), { name });
    await time.passes(100);
    await time.passes(100);
    await failed;
    assert.equal(server.called("insert").length, 6);
  });
}

test("between the attempts it waits 0.1 s to a ceiling that doubles", async (t) => {
  const time = new FakeTime();
  const { server, client } = await pair(t, { environment: { ...time, random: () => 1 } });
  server.trick("insert", ...times(50, fail(-32011)));
  const failed = assert.rejects(client.insert(WATCH), { name: "StoreUnavailable" });
  for (const [index, pause] of [200, 400, 800, 1_600, 2_000, 2_000, 2_000].entries()) {
    await eventually(() => server.called("insert").length === index + 1);
    await eventually(() => time.pending.includes(pause));
    time.advance(pause);
  }
  await failed;
  assert.equal(server.called("insert").length, 8);
});

test("a typed error beats a timeout, and an open outcome is no missing store", async (t) => {
  const { server, client, time } = await paused(t);
  server.trick("insert", fail(-32010), ignore);
  const typed = assert.rejects(client.insert(WATCH), { name: "UnknownOutcome" });
  await time.passes(100);
  await eventually(() => server.called("insert").length === 2);
  time.advance(10_000);
  await typed;
  server.trick("insert", fail(-32011), dropBefore, ...times(50, fail(-32011)));
  const open = assert.rejects(client.insert(WATCH, { timeout: 250 }), CallTimeout);
  await time.passes(100);
  await time.passes(10);
  await time.passes(100);
  await open;
  assert.equal(server.called("insert").length, 6);
});

test("a timeout tells whether anything was sent", async (t) => {
  const server = await fakeServer(t);
  await server.stop();
  const time = new FakeTime();
  const away = connectedTo(t, server, { environment: time });
  const never = assert.rejects(away.insert(WATCH), (error) => {
    return error instanceof CallTimeout && error.cause instanceof Unreachable;
  });
  await eventually(() => away.state === "waiting");
  time.advance(10_000);
  await never;
  await server.start();
  const client = connectedTo(t, server, { environment: time });
  server.trick("insert", ignore);
  const call = client.insert(WATCH);
  await eventually(() => server.called("insert").length > 0);
  await server.stop();
  await eventually(() => client.state === "waiting");
  time.advance(10_000);
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof CallTimeout && error.cause instanceof ConnectionLost);
    return !(error.cause instanceof Unreachable);
  });
});

test("a pause beyond the deadline is not waited for", async (t) => {
  const { server, client } = await pair(t);
  server.trick("insert", fail(-32011, { retry_after_ms: 60_000 }));
  await assert.rejects(client.insert(WATCH), { name: "StoreUnavailable", retryAfter: 60_000 });
});

test("other errors are thrown at once", async (t) => {
  const { server, client } = await pair(t);
  server.trick("insert", fail(-32602, { reason: "id_reused" }), fail(-32042), fail(-32001));
  await assert.rejects(client.insert(WATCH, { id: "a" }), (error) => {
    assert.ok(error instanceof InvalidParams);
    assert.deepEqual(error.data, { reason: "id_reused" });
    return true;
  });
  await assert.rejects(client.insert(WATCH), (error) => {
    return error instanceof RpcError && error.constructor === RpcError && error.code === -32042;
  });
  await assert.rejects(client.insert(WATCH), { name: "Unauthorized" });
  assert.equal(server.called("insert").length, 3);
});

// Deadlines.

test("a call without an answer times out, and is forgotten", async (t) => {
  const { server, client, time } = await paused(t);
  const answer = deferred();
  server.trick("insert", hold(answer.promise), hold(answer.promise));
  const first = assert.rejects(client.insert(WATCH, { timeout: 50 }), (error) => {
    assert.ok(error instanceof CallTimeout);
    assert.deepEqual([error.method, error.timeout, error.cause], ["insert", 50, undefined]);
    return true;
  });
  await eventually(() => server.called("insert").length === 1);
  time.advance(50);
  await first;
  server.peer.abort();
  await time.passes(10);
  await client.ping();
  assert.equal(server.called("insert").length, 1);
  const second = assert.rejects(client.insert(WATCH, { timeout: 50 }), CallTimeout);
  await eventually(() => server.called("insert").length === 2);
  time.advance(50);
  await second;
  answer.resolve();
  await client.ping();
});

test("the client has a deadline of its own, 10 s if none is given", async (t) => {
  for (const [given, timeout] of /** @type {[{timeout?: number}, number][]} */ ([
    [{ timeout: 50 }, 50],
    [{}, 10_000],
  ])) {
    const { server, client, time } = await paused(t, given);
    server.trick("ping", ignore);
    const failed = assert.rejects(client.ping(), { name: "CallTimeout", timeout });
    await eventually(() => server.called("ping").length === 1);
    time.advance(timeout - 1);
    assert.ok(time.pending.includes(1));
    time.advance(1);
    await failed;
  }
});

// Many at once.

test("a thousand calls run at the same time, and answers may come in any order", async (t) => {
  const { server, client } = await pair(t);
  server.push(WATCH);
  const first = deferred();
  server.trick("items", hold(first.promise));
  const slow = client.items();
  const answers = await Promise.all(
    Array.from({ length: 1_000 }, () => client.items({ user: 291 })),
  );
  assert.ok(answers.every(([event]) => event?.repo === 2842));
  first.resolve();
  assert.deepEqual(await slow, [WATCH]);
});

test("a call too long for one message fails alone", async (t) => {
  const { server, client } = await pair(t);
  const large = { text: "x".repeat(1024 * 1024) };
  await assert.rejects(client.insert(large), (error) => {
    assert.ok(error instanceof LimitExceeded && Number(error.got) > 1024 * 1024);
    assert.deepEqual([error.limit, error.max], ["message_bytes", 1024 * 1024]);
    return true;
  });
  await client.ping();
  assert.equal(server.opened, 1);
  await connectedTo(t, server, { messageBytes: null }).insert(large);
  assert.equal(server.events.length, 1);
});

// The end.

test("closing wakes every waiter, also one between two attempts", async (t) => {
  const time = new FakeTime();
  const { server, client } = await pair(t, { environment: time });
  server.trick("ping", ignore, ignore);
  server.trick("insert", fail(-32011));
  const calls = [client.ping(), client.ping(), client.insert(WATCH)];
  await eventually(() => server.calls.length === 3 && time.pending.some((left) => left <= 200));
  client.close();
  for (const call of calls) {
    await assert.rejects(call, ClientClosed);
  }
  await assert.rejects(client.ping(), ClientClosed);
  await eventually(() => server.peers.size === 0);
  assert.deepEqual(time.pending, [], "no timer keeps Node alive");
});
