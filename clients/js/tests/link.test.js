import assert from "node:assert/strict";
import { test } from "node:test";

import { ClientClosed } from "../src/streamd/errors.js";
import { connectedTo, eventually, fakeServer, FakePage, FakeTime, pair } from "./harness.js";

// Coming back.

test("the waits between attempts grow, and start again after a stable connection", async (t) => {
  const time = new FakeTime();
  /** @type {number[]} */
  const attempts = [];
  const backoff = (/** @type {number} */ attempt) => attempts.push(attempt) * 1_000;
  const server = await fakeServer(t);
  server.refusals.push(503, 503);
  const client = connectedTo(t, server, { environment: time, backoff });
  for (const wait of [1_000, 2_000]) {
    await eventually(() => client.state === "waiting");
    assert.deepEqual(time.pending, [wait]);
    time.advance(wait);
  }
  await eventually(() => client.connected);
  server.peer.abort();
  await eventually(() => client.state === "waiting");
  time.advance(3_000);
  await eventually(() => client.connected);
  time.advance(5_000);
  server.peer.abort();
  await eventually(() => client.state === "waiting");
  assert.deepEqual(attempts, [0, 1, 2, 0]);
});

test("without a backoff of one's own it is full jitter from 0.5 to 20 s", async (t) => {
  const server = await fakeServer(t);
  await server.stop();
  for (const [random, waits] of /** @type {[number, number[]][]} */ ([
    [0, [500, 500, 500]],
    [1, [1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]],
  ])) {
    const time = new FakeTime();
    const environment = { ...time, random: () => random };
    const client = connectedTo(t, server, { backoff: undefined, environment });
    for (const wait of waits) {
      await eventually(() => client.state === "waiting");
      assert.deepEqual(time.pending, [wait]);
      time.advance(wait);
    }
  }
});

test("the time of a shutdown goes first", async (t) => {
  const time = new FakeTime();
  const { server, client } = await pair(t, { environment: time });
  await client.ping();
  server.peer.notify("shutdown", { reconnect_after_ms: 1_234 });
  server.peer.socket.close(1012);
  await eventually(() => client.state === "waiting");
  assert.deepEqual(time.pending, [1_234]);
  const at = Number(client.retryAt) - Date.now();
  assert.ok(at > 1_000 && at <= 1_234);
  time.advance(1_234);
  assert.equal(client.retryAt, null);
  await client.ping();
  assert.equal(server.opened, 2);
});

test("the states are told in their order, with what is in the way", async (t) => {
  const server = await fakeServer(t);
  await server.stop();
  /** @type {[string, string | undefined][]} */
  const told = [];
  const client = connectedTo(t, server, {
    onState: (state, error) => told.push([state, error?.name]),
  });
  assert.deepEqual(told, [], "not before connect() has returned");
  await eventually(() => told.length >= 3);
  await server.start();
  await client.ping();
  client.close();
  client.close();
  await eventually(() => told.at(-1)?.[0] === "stopped");
  assert.deepEqual(told.slice(0, 3), [
    ["connecting", undefined],
    ["waiting", "Unreachable"],
    ["connecting", "Unreachable"],
  ]);
  assert.deepEqual(told.slice(-2), [
    ["connected", undefined],
    ["stopped", "ClientClosed"],
  ]);
  assert.deepEqual([client.state, client.connected, client.retryAt], ["stopped", false, null]);
});

test("an error of onState is reported, and the client goes on", async (t) => {
  /** @type {unknown[]} */
  const reported = [];
  const { client } = await pair(t, {
    environment: { report: (error) => reported.push(error) },
    onState: () => {
      throw new Error("mine");
    },
  });
  await client.ping();
  assert.deepEqual(reported.map(String), ["Error: mine", "Error: mine"]);
});

test("closing while connecting or waiting leaves nothing behind", async (t) => {
  const server = await fakeServer(t);
  const time = new FakeTime();
  const connecting = connectedTo(t, server, { environment: time });
  connecting.close();
  assert.deepEqual(time.pending, []);
  await server.stop();
  const waiting = connectedTo(t, server, { environment: time });
  const call = waiting.ping();
  await eventually(() => waiting.state === "waiting");
  waiting.close();
  await assert.rejects(call, ClientClosed);
  assert.deepEqual(time.pending, []);
  time.advance(1e9);
  assert.equal(waiting.state, "stopped");
});

// Wake-ups.

test("a page that is seen again, or online again, does not wait, nor who is told not to", async (t) => {
  const [time, page] = [new FakeTime(), new FakePage()];
  const environment = { ...time, page: page.global };
  const { server, client } = await pair(t, { environment, backoff: () => 1e6 });
  for (const wake of [() => page.online(), () => page.show("visible"), () => client.wake()]) {
    await client.ping();
    server.peer.abort();
    await eventually(() => client.state === "waiting");
    page.show("hidden");
    assert.equal(client.state, "waiting");
    wake();
    assert.equal(client.state, "connecting");
    assert.equal(client.retryAt, null);
    await eventually(() => client.connected);
  }
  assert.equal(server.opened, 4);
  client.close();
  client.wake();
  page.online();
  assert.equal(client.state, "stopped");
});

test("a page that is seen again finds a dead link out at once", async (t) => {
  const [time, page] = [new FakeTime(), new FakePage()];
  const { server, client } = await pair(t, { environment: { ...time, page: page.global } });
  await client.ping();
  page.show("visible");
  page.online();
  await eventually(() => server.called("ping").length === 2);
  await client.ping();
  time.advance(8_000);
  assert.equal(client.connected, true);
  time.advance(1_000);
  server.mute = true;
  page.show("visible");
  await eventually(() => server.called("ping").length === 4);
  time.advance(8_000);
  assert.equal(client.connected, false);
});
