import assert from "node:assert/strict";
import { test } from "node:test";

import { WebSocket as WsSocket } from "ws";

import {
  CallTimeout,
  ConnectionLost,
  ConnectionRejected,
  ProtocolError,
  Unreachable,
} from "../src/streamd/errors.js";
import { close, dropBefore } from "./fake_server.js";
import { connectedTo, eventually, fakeServer, FakeTime, pair } from "./harness.js";

const STOPPING = [1002, 1003, 1007, 1008, 1009, 1010, 4500, 4501, 4508, 4512, 4999];
const PASSING = [1000, 1001, 1011, 1012, 1013, 1014, 3000, 4000, 4001, 4008, 4029, 4499];

test("the class of the WebSocket may be another", async (t) => {
  const { server, client } = await pair(t, { WebSocket: WsSocket });
  await client.insert({ user: 1 });
  server.peer.abort();
  assert.deepEqual(await client.items(), [{ user: 1 }]);
  await server.stop();
  await eventually(() => client.trouble?.message.includes("ECONNREFUSED"));
});

// The handshake.

test("a refused handshake is tried again: a browser does not tell its status", async (t) => {
  const server = await fakeServer(t);
  server.refusals.push(400, 503);
  await connectedTo(t, server).ping();
  assert.deepEqual(server.refusals, []);
});

test("nobody listening is tried again until the deadline", async (t) => {
  const server = await fakeServer(t);
  await server.stop();
  const time = new FakeTime();
  const client = connectedTo(t, server, { environment: time });
  const failed = assert.rejects(client.ping(), (error) => {
    assert.ok(error instanceof CallTimeout && error.cause instanceof Unreachable);
    return true;
  });
  await eventually(() => client.state === "waiting");
  time.advance(10_000);
  await failed;
  assert.ok(client.trouble instanceof Unreachable);
  const call = connectedTo(t, server).ping();
  await server.start();
  await call;
});

test("a server that does not answer the handshake is left after 10 s", async (t) => {
  const time = new FakeTime();
  const { createServer } = await import("node:net");
  const sockets = new Set();
  const listening = createServer((socket) => sockets.add(socket.on("error", () => {})));
  await new Promise((resolve) => listening.listen(0, "127.0.0.1", () => resolve(undefined)));
  t.after(() => listening.close());
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  const { port } = /** @type {import("node:net").AddressInfo} */ (listening.address());
  const client = connectedTo(t, { url: `ws://127.0.0.1:${port}/` }, { environment: time });
  await eventually(() => sockets.size === 1);
  time.advance(9_999);
  assert.equal(client.state, "connecting");
  time.advance(1);
  assert.equal(client.state, "waiting");
  assert.match(String(client.trouble?.message), /did not answer in time/);
  time.advance(10);
  await eventually(() => sockets.size > 1);
});

test("a class that throws is passing trouble that is seen", async (t) => {
  class Insecure {
    constructor() {
      throw new Error("an insecure connection from a secure page");
    }
  }
  const WebSocket = /** @type {any} */ (Insecure);
  const client = connectedTo(t, { url: "ws://127.0.0.1:1/" }, { WebSocket });
  assert.equal(client.state, "waiting");
  assert.match(String(client.trouble?.message), /an insecure connection/);
});

// The end of a connection.

for (const code of STOPPING) {
  test(`close code ${code} stops the client`, async (t) => {
    const { server, client } = await pair(t);
    server.trick("insert", (_, { peer }) => sendClose(peer, code, "no"));
    const feed = client.iterate();
    const call = client.insert({ user: 1 });
    const is = { name: "ConnectionRejected", code, reason: "no" };
    await assert.rejects(call, is);
    await assert.rejects(feed.next(), is);
    await assert.rejects(client.ping(), is);
    assert.throws(() => client.subscribe(), is);
    assert.equal(client.state, "stopped");
    assert.equal(server.opened, 1);
  });
}

for (const code of PASSING) {
  test(`close code ${code} brings the client back`, async (t) => {
    const { server, client } = await pair(t);
    await client.ping();
    sendClose(server.peer, code);
    await eventually(() => client.trouble !== null || server.opened === 2);
    await client.ping();
    assert.equal(server.opened, 2);
  });
}

test("breaking off brings the client back, with or without a close frame", async (t) => {
  const { server, client } = await pair(t, { backoff: () => 1e9 });
  await client.ping();
  server.peer.abort();
  await eventually(() => client.state === "waiting");
  assert.ok(client.trouble instanceof ConnectionLost && client.trouble.code === null);
  const other = connectedTo(t, server, { backoff: () => 1e9 });
  await other.ping();
  server.peer.socket.close();
  await eventually(() => other.state === "waiting");
  assert.ok(other.trouble instanceof ConnectionLost && other.trouble.code === 1005);
});

/**
 * Close with any code, also those that a server may not send.
 *
 * @param {import("./fake_server.js").Peer} peer
 * @param {number} code
 * @param {string} [reason]
 */
function sendClose({ socket }, code, reason = "") {
  const body = Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]);
  /** @type {any} */ (socket)._socket.write(
    Buffer.concat([Buffer.from([0x88, body.length]), body]),
  );
}

// What is not of the protocol.

for (const frame of [
  "no",
  "{}",
  '{"jsonrpc":"2.0","method":"event","params":[1]}',
  Buffer.from("{}"),
]) {
  test(`a frame that is not of the protocol stops the client: ${frame}`, async (t) => {
    const { server, client } = await pair(t);
    server.trick("ping", (_, { peer }) => peer.socket.send(frame));
    await assert.rejects(client.ping(), ProtocolError);
    await assert.rejects(client.ping(), ProtocolError);
    await eventually(() => server.peers.size === 0);
    assert.equal(server.opened, 1);
  });
}

test("what comes behind such a frame is not read", async (t) => {
  const { server, client } = await pair(t);
  /** @type {unknown[]} */
  const seen = [];
  client.subscribe(
    {},
    {
      onEntry: (entry) => seen.push(entry.event.n),
      onState: (state, error) => seen.push(state, error?.name),
    },
  );
  await eventually(() => server.called("subscribe").length === 1);
  server.push({ n: 1 });
  server.peer.socket.send("no");
  server.push({ n: 2 });
  await eventually(() => client.state === "stopped");
  await eventually(() => seen.includes("closed"));
  assert.deepEqual(seen.slice(-3), [1, "closed", "ProtocolError"]);
});

// Dead links.

test("a silent link is tried after 25 s and left after 8 s more", async (t) => {
  const time = new FakeTime();
  const { server, client } = await pair(t, { environment: time });
  await client.ping();
  server.mute = true;
  time.advance(24_999);
  assert.equal(client.connected, true);
  time.advance(1);
  await eventually(() => server.calls.at(-1)?.id === "keepalive");
  time.advance(7_999);
  assert.equal(client.connected, true);
  server.mute = false;
  time.advance(1);
  assert.equal(client.connected, false);
  assert.match(String(client.trouble?.message), /not even after a ping/);
  time.advance(10);
  await eventually(() => client.connected);
  assert.equal(server.opened, 2);
});

test("any sign of life keeps a link", async (t) => {
  const time = new FakeTime();
  const { server, client } = await pair(t, { environment: time });
  const feed = client.subscribe();
  await eventually(() => feed.live);
  server.mute = true;
  time.advance(25_000);
  await eventually(() => server.calls.at(-1)?.id === "keepalive");
  time.advance(7_000);
  server.peer.notify("progress", { cursor: "e1.9" });
  await eventually(() => feed.cursor === "e1.9");
  time.advance(25_000 - 1_000);
  assert.equal(server.called("ping").length, 1);
  assert.equal(client.connected, true);
  time.advance(1_000);
  await eventually(() => server.called("ping").length === 2);
});

test("a busy link is not tried", async (t) => {
  const time = new FakeTime();
  const { server, client } = await pair(t, { environment: time });
  for (let n = 0; n < 10; n += 1) {
    await client.insert({ n });
    time.advance(20_000);
  }
  assert.deepEqual(server.called("ping"), []);
});

test("a stall of our own is no dead link", async (t) => {
  const time = new FakeTime();
  const { server, client } = await pair(t, { environment: time });
  await client.ping();
  server.mute = true;
  time.advance(25_000);
  await eventually(() => server.calls.at(-1)?.id === "keepalive");
  time.now += 3_600_000; // the computer slept: the timer is an hour late, and none but this one
  time.advance(0);
  assert.equal(client.connected, true);
  server.peer.send({ jsonrpc: "2.0", id: "keepalive", result: "pong" });
  server.mute = false;
  await client.ping();
  time.advance(2_000);
  time.advance(2_000);
  assert.equal(client.connected, true);
});

// Sending.

test("frames wait here while the socket is full, and can still be taken back", async (t) => {
  const time = new FakeTime();
  /** @type {any[]} */
  const sockets = [];
  class Slow {
    bufferedAmount = 0;
    /** @type {string[]} */
    sent = [];
    constructor() {
      sockets.push(this);
    }
    /** @param {string} frame */
    send(frame) {
      this.sent.push(frame);
      this.bufferedAmount += frame.length;
    }
    close() {}
  }
  const WebSocket = /** @type {any} */ (Slow);
  const client = connectedTo(t, { url: "ws://127.0.0.1/" }, { WebSocket, environment: time });
  const [socket] = sockets;
  socket.onopen();
  const calls = Array.from({ length: 20 }, (_, n) =>
    client.insert({ n, text: "x".repeat(10_000) }, { timeout: n === 10 ? 30 : 60_000 }),
  );
  const gone = assert.rejects(/** @type {Promise<unknown>} */ (calls[10]), CallTimeout);
  assert.equal(socket.sent.length, 7);
  time.advance(100);
  assert.equal(socket.sent.length, 7);
  await gone;
  time.advance(25_000);
  socket.bufferedAmount = 0;
  time.advance(20);
  assert.equal(JSON.parse(socket.sent[7]).method, "ping", "the sign of life goes first");
  for (let round = 0; round < 3; round += 1) {
    socket.bufferedAmount = 0;
    socket.onmessage({ data: '{"jsonrpc":"2.0","id":"keepalive","result":"pong"}' });
  }
  const sent = socket.sent
    .map(JSON.parse)
    .filter((/** @type {any} */ call) => call.id !== "keepalive");
  const numbers = sent.map((/** @type {any} */ call) => call.params.event.n);
  assert.deepEqual(
    numbers,
    Array.from({ length: 20 }, (_, n) => n).filter((n) => n !== 10),
  );
  calls.forEach((call) => call.catch(() => {}));
});

test("a connection broken while a call is under way is another matter", async (t) => {
  const { server, client } = await pair(t);
  server.trick("ping", dropBefore, close(1012));
  await client.ping();
  assert.equal(server.opened, 3);
  assert.ok(!(client.trouble instanceof ConnectionRejected));
});
