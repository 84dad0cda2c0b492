import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

import { connect } from "../src/streamd.js";
import { fakeServer, pair } from "./harness.js";

const SOURCE = new URL("../src/streamd.js", import.meta.url);

test("calls give plain values", async (t) => {
  const { server, client } = await pair(t);
  const { time } = server.push({ user: 1 });
  const inserted = await client.insert({ user: 2 }, { id: "mine" });
  assert.deepEqual(inserted, { cursor: "e1.2", time: time + 1, duplicate: false });
  assert.equal((await client.insert({ user: 2 }, { id: "mine" })).duplicate, true);
  const many = await client.insertMany([{ user: 3 }, { user: 4 }]);
  assert.deepEqual(
    many.map(({ cursor }) => cursor),
    ["e1.3", "e1.4"],
  );
  assert.deepEqual(await client.items({ user: new Set([1, 2, 3]) }, { start: 1, end: 3 }), [
    { user: 2 },
    { user: 1 },
  ]);
  assert.equal((await client.items()).length, 4);
  assert.deepEqual(await client.history(null, { limit: 1 }), {
    entries: [{ cursor: "e1.4", time: time + 3, event: { user: 4 } }],
    before: "e1.4",
    cursor: "e1.4",
  });
  assert.equal((await client.history({}, { before: "e1.3" })).entries.length, 2);
  assert.deepEqual((await client.info()).paths, {});
  assert.ok((await client.ping()) > 0);
  await assert.rejects(client.insertMany([{ user: 1 }], { ids: [] }), RangeError);
  await assert.rejects(client.insert({ n: 1n }), TypeError);
});

test("calls are sent in the order they were made, and feeds in between", async (t) => {
  const { server, client } = await pair(t);
  /** @type {Promise<unknown>[]} */
  const calls = [client.insert({ n: 1 }), client.items()];
  client.subscribe();
  calls.push(client.ping());
  await Promise.all(calls);
  const methods = () => server.calls.map(({ method }) => method);
  assert.deepEqual(methods(), ["insert", "items", "ping", "subscribe"], "before it was connected");
  server.calls.length = 0;
  /** @type {Promise<unknown>[]} */
  const more = [client.insert({ n: 2 })];
  client.subscribe();
  more.push(client.ping());
  await Promise.all(more);
  assert.deepEqual(methods(), ["insert", "subscribe", "ping"]);
});

test("a URL may be relative to the page", async (t) => {
  const server = await fakeServer(t);
  const location = /** @type {any} */ ({ href: server.url.replace("ws:", "http:") });
  const client = connect("/", { environment: { page: { location } } });
  t.after(() => client.close());
  await client.ping();
});

test("without a WebSocket it says so", (t) => {
  const { WebSocket } = globalThis;
  t.after(() => {
    globalThis.WebSocket = WebSocket;
  });
  Reflect.deleteProperty(globalThis, "WebSocket");
  assert.throws(() => connect("ws://localhost/"), /there is no WebSocket here/);
});

test("a client that is closed does not keep Node alive", async (t) => {
  const server = await fakeServer(t);
  const program = `
    import { connect } from "${SOURCE}";
    const client = connect("${server.url}", { getToken: () => "t" });
    const feed = client.subscribe({}, { cursors: { load: () => null, save() {} } });
    await client.insert({ n: 1 });
    connect("ws://127.0.0.1:1/").close();
    client.close();
    console.log(client.state);
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "--eval", program],
    { timeout: 10_000 },
  );
  assert.equal(stdout, "stopped\n");
});
