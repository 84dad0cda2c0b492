/** All that a client does, with a server whose log is empty. */

import assert from "node:assert/strict";

import { eventually } from "./harness.js";

/** @param {import("../src/streamd.js").Client} client */
export async function everything(client) {
  const info = await client.info();
  assert.deepEqual(info.keys, ["user", "kind", "repo"]);
  assert.deepEqual(info.paths, { user: "user", kind: "kind", repo: "repo" });
  assert.equal(info.limits.message_bytes, 1024 * 1024);
  assert.ok((await client.ping()) > 0);

  const watch = { kind: "watch", user: 291, repo: 2842 };
  const inserted = await client.insert(watch, { id: "once" });
  const again = await client.insert(watch, { id: "once" });
  assert.deepEqual(again, { ...inserted, duplicate: true });
  await assert.rejects(client.insert({ other: 1 }, { id: "once" }), {
    name: "InvalidParams",
    data: { reason: "id_reused" },
  });
  const odd = JSON.parse('{"kind":"friend","user":"23","__proto__":{"a":1},"text":"\\u2028😀"}');
  const many = await client.insertMany([odd, { kind: "friend", user: 291 }]);
  assert.equal(new Set(many.map(({ cursor }) => cursor)).size, 2);

  const friends = await client.items({ kind: "friend", user: [23, "291"] }, { start: 1, end: 3 });
  assert.equal(JSON.stringify(friends), JSON.stringify([odd]));
  await assert.rejects(client.items({ colour: "red" }), { name: "InvalidParams" });
  await assert.rejects(client.items({}, { end: 99_999 }), { name: "LimitExceeded", limit: "end" });

  const page = await client.history({ user: [23, 291] }, { limit: 2 });
  assert.deepEqual(
    page.entries.map(({ cursor }) => cursor),
    [many[1]?.cursor, many[0]?.cursor],
  );
  const older = await client.history({ user: [23, 291] }, { before: page.before });
  assert.deepEqual(
    older.entries.map(({ event }) => event),
    [watch],
  );
  assert.equal(older.before, null);

  /** @type {unknown[]} */
  const seen = [];
  const feed = client.subscribe(
    { user: [23, 291] },
    {
      backfill: 1,
      onEntry: ({ event }) => seen.push(event),
    },
  );
  await eventually(() => feed.live);
  const why = await client.explain({ user: [4, 23] }, { cursor: page.entries[0]?.cursor });
  assert.deepEqual(
    [why.matches, why.keys, why.entry, why.grants],
    [
      false,
      [{ key: "user", wanted: 2, matched: false, values: ["291"] }],
      page.entries[0],
      null,
    ],
  );
  assert.equal((await client.explain({ user: 4 }, { event: { user: "4" } })).matches, true);
  const [standing] = await client.subscriptions();
  assert.deepEqual(
    [standing?.state, standing?.filter, standing?.lag],
    ["live", { user: { count: 2, values: ["23", "291"] } }, 0],
  );
  await client.insertMany([{ user: 4 }, { user: 23, n: 1 }, { user: 291, n: 2 }]);
  await eventually(() => seen.length === 3);
  assert.deepEqual(seen, [
    { kind: "friend", user: 291 },
    { user: 23, n: 1 },
    { user: 291, n: 2 },
  ]);
  feed.close();

  const all = [];
  for await (const { event } of client.iterate({}, { after: "start" })) {
    all.push(event);
    if (all.length === 6) {
      break;
    }
  }
  assert.deepEqual(all[0], watch);
  await assert.rejects(client.iterate({}, { after: "no cursor" }).next(), {
    name: "InvalidParams",
  });
}
