/** Against a real streamd. The tests share one, in this order, where they can. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";

import { Daemon, startDaemon } from "./daemon.js";
import { everything } from "./everything.js";
import { connectedTo, deferred, eventually } from "./harness.js";

/** @param {number} count */
const numbered = (count, from = 0) => Array.from({ length: count }, (_, n) => ({ n: from + n }));

const shared = new Daemon(tmpdir(), ["--store", "memory:"]);
before(() => shared.start());
after(() => shared.stop());

test("everything a client does", async (t) => {
  await everything(connectedTo(t, shared));
});

test("a server that is killed and started again is missed by nobody", async (t) => {
  const daemon = await startDaemon(t, "--store", "sqlite:///events.db");
  const client = connectedTo(t, daemon, { timeout: 60_000 });
  /** @type {number[]} */
  const seen = [];
  /** @type {unknown[]} */
  const gaps = [];
  client.subscribe(
    {},
    {
      after: "start",
      onEntry: ({ event }) => void seen.push(event.n),
      onGap: (gap) => gaps.push(gap),
    },
  );
  const inserting = (async () => {
    for (let n = 0; n < 600; n += 20) {
      await Promise.all(numbered(20, n).map((event) => client.insert(event)));
    }
  })();
  await eventually(() => seen.length >= 100);
  await daemon.stop("SIGKILL");
  await daemon.start();
  await inserting;
  await eventually(() => seen.length >= 600);
  await client.ping();
  assert.equal(new Set(seen).size, 600);
  assert.equal(seen.length, 600);
  assert.deepEqual(
    seen,
    (await client.history({}, { limit: 600 })).entries.map(({ event }) => event.n).reverse(),
  );
  assert.deepEqual(gaps, []);
});

test("a slow callback loses nothing of thousands", async (t) => {
  const client = connectedTo(t, shared);
  const first = deferred();
  /** @type {number[]} */
  const seen = [];
  const feed = client.subscribe(
    {},
    {
      backfill: 0,
      onEntry: ({ event }) => {
        seen.push(event.n);
        return seen.length === 1 ? first.promise : undefined;
      },
    },
  );
  await eventually(() => feed.live);
  for (let n = 0; n < 5_000; n += 500) {
    await client.insertMany(numbered(500, n));
  }
  await eventually(() => feed.state === "paused");
  assert.equal(seen.length, 1);
  first.resolve();
  await eventually(() => seen.length === 5_000);
  await eventually(() => feed.live);
  assert.deepEqual(
    seen,
    numbered(5_000).map(({ n }) => n),
  );
});

test("a log that was replaced is told", async (t) => {
  const client = connectedTo(t, shared);
  /** @type {unknown[]} */
  const seen = [];
  const feed = client.subscribe(
    {},
    {
      backfill: 0,
      onEntry: ({ event }) => seen.push(event.n),
      onGap: ({ reason }) => seen.push(reason),
    },
  );
  await eventually(() => feed.live);
  await client.insert({ n: 1 });
  await eventually(() => seen.length === 1);
  await shared.stop();
  await eventually(() => !client.connected);
  await shared.start();
  await eventually(() => feed.live);
  await client.insert({ n: 2 });
  await eventually(() => seen.length === 3);
  assert.deepEqual(seen, [1, "epoch", 2]);
});

const SECRET = "a secret of the tests, 32 bytes or more";

/**
 * Return a token that allows everything.
 *
 * @param {number} seconds for which it is good
 * @param {string} [secret]
 */
function token(seconds, secret = SECRET) {
  const encoded = (/** @type {any} */ value) =>
    Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Date.now() / 1_000 + seconds;
  const claims = { sub: "291", exp, streamd: { read: [{}], write: [{}] } };
  const signed = `${encoded({ alg: "HS256", typ: "JWT" })}.${encoded(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

test("a token that expires is asked for again, and the feed goes on", async (t) => {
  const daemon = await startDaemon(
    t,
    ...["--store", "memory:", "--token-secret", SECRET, "--token-leeway", "0"],
  );
  let asked = 0;
  const getToken = () => token((asked += 1) === 1 ? 3 : 60);
  const client = connectedTo(t, daemon, { getToken });
  /** @type {number[]} */
  const seen = [];
  client.subscribe(
    {},
    {
      onEntry: ({ event }) => void seen.push(event.n),
      onGap: () => assert.fail("a gap"),
    },
  );
  await client.insert({ n: 1 });
  await eventually(() => asked === 2 && client.connected);
  await client.insert({ n: 2 });
  await eventually(() => seen.length === 2);
  assert.deepEqual(seen, [1, 2]);
  assert.equal(/** @type {any} */ (client.trouble), null);

  const stranger = connectedTo(t, daemon, {
    getToken: () => token(60, "another secret, as long as it must be"),
  });
  await assert.rejects(stranger.info(), { name: "Unauthorized" });
  assert.equal(stranger.state, "stopped");
  await assert.rejects(connectedTo(t, daemon).info(), { name: "Unauthorized" });
});
