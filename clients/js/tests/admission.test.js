import assert from "node:assert/strict";
import { test } from "node:test";

import { Unauthorized } from "../src/streamd/errors.js";
import { close, dropBefore, fail, hold, ignore } from "./fake_server.js";
import { connectedTo, deferred, eventually, fakeServer, FakeTime, pair } from "./harness.js";

test("the token is the first call of each connection, and all else waits for it", async (t) => {
  const server = await fakeServer(t);
  server.tokens = new Set(["t1"]);
  const answer = deferred();
  server.trick("authenticate", hold(answer.promise));
  let asked = 0;
  const getToken = async () => `t${(asked += 1)}`;
  const client = connectedTo(t, server, { getToken });
  client.subscribe();
  const call = client.insert({ user: 1 });
  await eventually(() => server.calls.length > 0);
  assert.equal(client.state, "connecting");
  answer.resolve();
  await call;
  server.peer.abort();
  await client.ping();
  assert.deepEqual(
    server.calls.map(({ method, params }) => [method, params.token]),
    [
      ["authenticate", "t1"],
      ["insert", undefined],
      ["subscribe", undefined],
      ["authenticate", "t1"],
      ["ping", undefined],
      ["subscribe", undefined],
    ],
  );
  assert.equal(asked, 1);
});

test("an expired token is asked for again: close code 4001", async (t) => {
  const server = await fakeServer(t);
  server.tokens = new Set(["t1", "t2"]);
  let asked = 0;
  const client = connectedTo(t, server, { getToken: () => `t${(asked += 1)}` });
  await client.ping();
  server.peer.socket.close(4001);
  await eventually(() => server.opened === 2);
  await client.ping();
  assert.deepEqual(
    server.called("authenticate").map(({ params }) => params.token),
    ["t1", "t2"],
  );
});

test("an old token that is refused is asked for again, and the call made again", async (t) => {
  const time = new FakeTime();
  const server = await fakeServer(t);
  server.tokens = new Set(["t1", "t2", "t3", "t4"]);
  let asked = 0;
  const getToken = () => `t${(asked += 1)}`;
  const client = connectedTo(t, server, { getToken, environment: time });
  await client.ping();
  time.advance(5_000);
  server.trick("insert", fail(-32001));
  const feed = client.subscribe();
  const call = client.insert({ user: 1 });
  await eventually(() => client.state === "waiting");
  time.advance(10);
  assert.equal((await call).duplicate, false);
  await eventually(() => feed.live);
  time.advance(5_000);
  server.trick("subscribe", fail(-32001));
  const other = client.subscribe();
  await eventually(() => client.state === "waiting");
  time.advance(10);
  await eventually(() => other.live);
  assert.deepEqual(
    server.called("authenticate").map(({ params }) => params.token),
    ["t1", "t2", "t3"],
  );
  // Kept from the last connection, it is old on the next.
  server.tokens.delete("t3");
  server.peer.abort();
  await eventually(() => client.state === "waiting");
  time.advance(10);
  await eventually(() => client.state === "waiting");
  time.advance(10);
  await client.ping();
  server.trick("authenticate", close(4501));
  server.peer.abort();
  await eventually(() => client.state === "waiting");
  time.advance(10);
  await eventually(() => client.state === "waiting" && asked === 4);
  assert.equal(client.trouble?.cause?.constructor.name, "ConnectionRejected");
});

test("a fresh token that is refused stops the client", async (t) => {
  for (const [method, trick] of /** @type {const} */ ([
    ["authenticate", fail(-32001)],
    ["ping", fail(-32001)],
    ["subscribe", fail(-32001)],
    ["authenticate", close(4501)],
    ["authenticate", fail(-32602)],
  ])) {
    const server = await fakeServer(t);
    server.tokens = new Set(["t1"]);
    server.trick(method, trick);
    let asked = 0;
    const client = connectedTo(t, server, { getToken: () => `t${(asked += 1)}` });
    const feed = client.iterate();
    const call = client.ping();
    await assert.rejects(feed.next(), /told to|4501/);
    await assert.rejects(call, /told to|4501/).catch(() => {});
    assert.equal(client.state, "stopped");
    assert.equal(asked, 1);
  }
});

test("trouble with a token passes", async (t) => {
  const time = new FakeTime();
  const server = await fakeServer(t);
  server.tokens = new Set(["t"]);
  const answers = [Promise.reject(new Error("offline")), new Promise(() => {})];
  /** @type {(string | undefined)[]} */
  const troubles = [];
  const client = connectedTo(t, server, {
    getToken: () => /** @type {Promise<string>} */ (answers.shift() ?? Promise.resolve("t")),
    environment: time,
  });
  server.trick("authenticate", ignore, dropBefore, fail(-32005, { retry_after_ms: 70 }));
  const waits = [];
  for (const late of [0, 10_000, 10_000, 0, 0]) {
    await eventually(() => late === 0 || time.pending.includes(late));
    if (late > 0 && troubles.length === 2) {
      await eventually(() => server.called("authenticate").length === 1);
    }
    time.advance(late);
    await eventually(() => client.state === "waiting");
    troubles.push(client.trouble?.message.replace(/.*: /, ""));
    waits.push(time.pending[0]);
    time.advance(Number(time.pending[0]));
  }
  await eventually(() => client.connected);
  assert.deepEqual(troubles, [
    "offline",
    "nothing came within 10000 ms",
    "the server did not answer to the token",
    "it broke off without a close frame",
    "told to",
  ]);
  assert.deepEqual(waits, [10, 10, 10, 10, 70]);
  assert.equal(server.opened, 4);
});

test("a token that can't be judged now, or is in use too often, is tried again later", async (t) => {
  const time = new FakeTime();
  const server = await fakeServer(t);
  server.tokens = new Set(["t"]);
  // The keys that tokens are checked with are not to be had; then others have all the connections.
  const full = { limit: "subject_connections", max: 1, got: 2 };
  server.trick("authenticate", fail(-32011), fail(-32011), fail(-32004, full));
  const backoff = (/** @type {number} */ attempt) => 1_000 * 2 ** attempt;
  const getToken = () => "t";
  const client = connectedTo(t, server, { getToken, environment: time, backoff });
  for (const [wait, code] of /** @type {const} */ ([
    [1_000, null],
    [2_000, null],
    [4_000, 4029],
  ])) {
    await eventually(() => client.state === "waiting");
    assert.deepEqual([time.pending, client.trouble?.code], [[wait], code]);
    time.advance(wait);
  }
  await client.ping();
  assert.equal(server.opened, 4);
});

test("a server without tokens asks for none; without getToken an error is the caller's", async (t) => {
  const { server, client } = await pair(t, { getToken: () => "t" });
  await client.ping();
  assert.equal(server.called("authenticate").length, 1);
  const other = connectedTo(t, server);
  server.trick("ping", fail(-32001));
  await assert.rejects(other.ping(), Unauthorized);
  await other.ping();
});

test("closing while a token is waited for leaves nothing behind", async (t) => {
  const time = new FakeTime();
  const server = await fakeServer(t);
  const token = deferred();
  const client = connectedTo(t, server, { getToken: () => token.promise, environment: time });
  client.close();
  assert.deepEqual(time.pending, []);
  token.resolve("t");
  await connectedTo(t, server).ping();
  assert.equal(server.opened, 1);
});
