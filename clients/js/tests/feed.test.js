import assert from "node:assert/strict";
import { test } from "node:test";

import { ClientClosed } from "../src/streamd/errors.js";
import { MAX_ENTRIES } from "../src/streamd/inbox.js";
import { hold } from "./fake_server.js";
import {
  connectedTo,
  deferred,
  eventually,
  fakeServer,
  FakePage,
  FakeTime,
  follow,
  numbers,
  pair,
  push,
} from "./harness.js";

/** @import { Feed } from "../src/streamd.js" */

// States and cursor.

test("a feed says where it stands", async (t) => {
  const { server, client } = await pair(t);
  server.liveAtOnce = false;
  server.catchesUp = false;
  const answer = deferred();
  server.trick("subscribe", hold(answer.promise));
  const { feed, states } = follow(client);
  assert.deepEqual([feed.state, states], ["subscribing", []]);
  await eventually(() => server.called("subscribe").length === 1);
  answer.resolve();
  await eventually(() => feed.state === "catching up");
  server.peer.notify("progress", { subscription: 1, cursor: "e1.5" });
  await eventually(() => feed.cursor === "e1.5");
  assert.equal(feed.live, false);
  server.peer.notify("progress", { subscription: 1, cursor: "e1.6", live: true });
  await eventually(() => feed.live);
  feed.close();
  feed.close();
  await eventually(() => states.length === 4);
  assert.deepEqual(
    states.map(([state]) => state),
    ["subscribing", "catching up", "live", "closed"],
  );
  assert.deepEqual([feed.state, feed.error, feed.cursor], ["closed", null, "e1.6"]);
});

test("the cursor is the last entry whose callback has finished", async (t) => {
  const { server, client } = await pair(t);
  push(server, [1, 2]);
  const finish = deferred();
  /** @type {(string | null)[][]} */
  const seen = [];
  const feed = client.subscribe(
    {},
    {
      after: "e1.0",
      onEntry: (entry, self) => {
        seen.push([entry.cursor, self.cursor]);
        return seen.length === 2 ? finish.promise : undefined;
      },
    },
  );
  await eventually(() => seen.length === 2);
  server.peer.notify("progress", { cursor: "e1.9" });
  await client.ping();
  assert.deepEqual(seen, [
    ["e1.1", "e1.0"],
    ["e1.2", "e1.1"],
  ]);
  assert.equal(feed.cursor, "e1.1");
  finish.resolve();
  await eventually(() => feed.cursor === "e1.9");
});

test("progress moves the cursor of every quiet feed, and it resumes from there", async (t) => {
  const { server, client } = await pair(t);
  const first = follow(client, { filter: { kind: "a" } }).feed;
  const second = follow(client, { filter: { kind: "b" } }).feed;
  await eventually(() => first.live && second.live);
  server.peer.notify("progress", { cursor: "e1.40" });
  await eventually(() => first.cursor === "e1.40" && second.cursor === "e1.40");
  server.peer.notify("progress", { cursor: "e1.50", subscription: 2 });
  await eventually(() => second.cursor === "e1.50");
  assert.equal(first.cursor, "e1.40");
  server.peer.socket.close(1012);
  await eventually(() => server.called("subscribe").length === 4);
  const after = server.called("subscribe").map(({ params }) => params.after);
  assert.deepEqual(after, [undefined, undefined, "e1.40", "e1.50"]);
});

// Callbacks.

test("no callback runs before subscribe returns, nor where the connection is read", async (t) => {
  const { server, client } = await pair(t);
  await client.ping();
  push(server, [1, 2]);
  /** @type {string[]} */
  const stacks = [];
  /** @type {Feed | null} */
  let feed = null;
  const note = () => {
    assert.notEqual(feed, null);
    stacks.push(String(new Error().stack));
  };
  feed = client.subscribe({}, { onEntry: note, onState: note, onGap: note });
  await eventually(() => feed?.live && stacks.length >= 4);
  assert.ok(stacks.every((stack) => !stack.includes("connection.js")));
});

test("a promise is waited for, and calls may be made in a callback", async (t) => {
  const { server, client } = await pair(t);
  push(server, [0]);
  /** @type {number[]} */
  const seen = [];
  const feed = client.subscribe(
    {},
    {
      onEntry: async ({ event }) => {
        const [newest] = await client.items({}, { end: 1 });
        assert.equal(newest?.n, event.n);
        seen.push(event.n);
        event.n === 5 ? feed.close() : await client.insert({ n: event.n + 1 });
      },
    },
  );
  await eventually(() => feed.state === "closed");
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5]);
});

test("no entry follows close, though some wait", async (t) => {
  const { server, client } = await pair(t);
  push(server, numbers(10));
  const { feed, seen, states } = follow(client, {
    onEntry: (/** @type {any} */ entry, /** @type {Feed} */ self) => {
      seen.push(entry.event.n);
      if (entry.event.n === 3) {
        self.close();
      }
    },
  });
  await eventually(() => states.at(-1)?.[0] === "closed");
  await client.ping();
  assert.deepEqual(seen, [0, 1, 2, 3]);
  assert.equal(feed.cursor, "e1.4", "the entry that closed it is finished too");
});

test("what a callback throws is reported, and the feed goes on", async (t) => {
  /** @type {any[]} */
  const reported = [];
  const { server, client } = await pair(t, {
    environment: { report: (error) => reported.push(error) },
  });
  push(server, [1, 2, 3]);
  let entries = 0;
  const feed = client.subscribe(
    {},
    {
      onEntry: ({ event }) => {
        entries += 1;
        if (event.n === 1) {
          throw new Error("sync");
        }
        return event.n === 2 ? Promise.reject(new Error("async")) : undefined;
      },
      onState: () => {
        throw new Error("state");
      },
      onGap: () => {
        throw new Error("gap");
      },
    },
  );
  await eventually(() => feed.cursor === "e1.3");
  server.newEpoch();
  server.peer.abort();
  await eventually(() => reported.some(({ message }) => message === "gap"));
  push(server, [4]);
  await eventually(() => entries === 4);
  const messages = new Set(reported.map(({ message }) => message));
  assert.deepEqual(messages, new Set(["state", "sync", "async", "gap"]));
});

test("a feed needs no callback", async (t) => {
  const { server, client } = await pair(t);
  push(server, [1]);
  const feed = client.subscribe();
  await eventually(() => feed.cursor === "e1.1");
  server.newEpoch();
  server.peer.abort();
  push(server, [2]);
  await eventually(() => feed.cursor === "e2.1");
});

for (const kind of ["plain", "async"]) {
  test(`long work of a callback that is ${kind} is cut every 10 ms`, async (t) => {
    const time = new FakeTime();
    /** @type {(() => void)[]} */
    const waiting = [];
    const { server, client } = await pair(t, {
      environment: { ...time, soon: (run) => waiting.push(run) },
    });
    push(server, numbers(100));
    const { feed, seen } = follow(client, {
      after: "start",
      onEntry: (/** @type {any} */ entry) => {
        seen.push(entry.event.n);
        time.now += 3;
        return kind === "async" ? Promise.resolve() : undefined;
      },
    });
    await eventually(() => waiting.length === 1);
    await client.ping();
    assert.equal(seen.length, 4);
    for (let turns = 1; feed.cursor !== "e1.100"; turns += 1) {
      assert.equal(seen.length, 4 * turns);
      assert.equal(waiting.length, turns);
      waiting[turns - 1]?.();
      await client.ping();
    }
    assert.deepEqual(seen, numbers(100));
  });
}

// Slow callers.

test("a slow callback costs bounded memory and loses nothing", async (t) => {
  const { server, client } = await pair(t);
  const first = deferred();
  const { feed, seen } = follow(client, {
    after: "start",
    onEntry: (/** @type {any} */ entry) => {
      seen.push(entry.event.n);
      return entry.event.n === 0 ? first.promise : undefined;
    },
  });
  await eventually(() => feed.live);
  push(server, numbers(5_000));
  await eventually(() => server.called("unsubscribe").length === 1);
  assert.equal(feed.state, "paused");
  push(server, numbers(10, 5_000));
  const other = follow(client, { filter: { kind: "b" } });
  push(server, [-1], { kind: "b" });
  await eventually(() => other.seen.length === 1);
  await client.ping();
  assert.equal(server.called("subscribe").length, 2);
  first.resolve();
  await eventually(() => seen.length === 5_011);
  await client.ping();
  assert.deepEqual(seen, [...numbers(5_010), -1]);
  assert.ok(feed.live);
  const resumed = server.called("subscribe").filter(({ params }) => params.after === "e1.1001");
  assert.equal(resumed.length, 1);
  assert.equal(MAX_ENTRIES, 1_000);
});

test("large entries are bounded by their size", async (t) => {
  const { server, client } = await pair(t);
  const first = deferred();
  const { feed, seen } = follow(client, {
    after: "start",
    onEntry: (/** @type {any} */ entry) => {
      seen.push(entry.event.n);
      return first.promise;
    },
  });
  await eventually(() => feed.live);
  push(server, numbers(100), { text: "x".repeat(60_000) });
  await eventually(() => server.called("unsubscribe").length === 1);
  first.resolve();
  await eventually(() => seen.length === 100);
  const [, resumed] = server.called("subscribe");
  const seq = Number(resumed?.params.after.split(".")[1]);
  assert.ok(seq > 60 && seq < 75);
  assert.deepEqual(seen, numbers(100));
});

test("a paused feed stays paused through a broken connection", async (t) => {
  const { server, client } = await pair(t);
  const first = deferred();
  const { feed, seen } = follow(client, {
    after: "start",
    onEntry: (/** @type {any} */ entry) => {
      seen.push(entry.event.n);
      return first.promise;
    },
  });
  await eventually(() => feed.live);
  push(server, numbers(1_200));
  await eventually(() => feed.state === "paused");
  server.peer.abort();
  await eventually(() => server.opened === 2);
  await client.ping();
  assert.equal(feed.state, "paused");
  assert.equal(server.called("subscribe").length, 1);
  first.resolve();
  await eventually(() => seen.length === 1_200);
  assert.deepEqual(seen, numbers(1_200));
});

// Ends.

test("a refused feed ends, after what was received, with the error", async (t) => {
  const { server, client } = await pair(t);
  const refused = follow(client, { filter: { colour: "red" } });
  await eventually(() => refused.states.length === 2);
  assert.deepEqual(refused.states, [
    ["subscribing", undefined],
    ["closed", "InvalidParams"],
  ]);
  assert.equal(refused.feed.error?.name, "InvalidParams");
  const slow = deferred();
  const { feed, seen, states } = follow(client, {
    onEntry: async (/** @type {any} */ entry) => {
      await slow.promise;
      seen.push(entry.event.n);
    },
  });
  await eventually(() => feed.live);
  push(server, [1, 2]);
  server.peer.notify("closed", { subscription: 1, code: -32002, message: "no longer allowed" });
  await eventually(() => feed.state === "closed");
  assert.deepEqual([seen, states.at(-1)?.[0]], [[], "live"]);
  slow.resolve();
  await eventually(() => states.at(-1)?.[0] === "closed");
  assert.deepEqual(
    [seen, states.at(-1)],
    [
      [1, 2],
      ["closed", "Forbidden"],
    ],
  );
  assert.equal(client.state, "connected");
});

test("closed with a passing error resumes", async (t) => {
  const { server, client } = await pair(t);
  push(server, [1]);
  const { feed, seen } = follow(client);
  await eventually(() => feed.live);
  server.peer.subscriptions.clear();
  const data = { retry_after_ms: 1 };
  server.peer.notify("closed", { subscription: 1, code: -32011, message: "m", data });
  push(server, [2]);
  await eventually(() => seen.length === 2);
  assert.equal(server.called("subscribe")[1]?.params.after, "e1.1");
});

test("an end that nobody listens to is reported, unless it was the owner's", async (t) => {
  /** @type {any[]} */
  const reported = [];
  const { client } = await pair(t, { environment: { report: (error) => reported.push(error) } });
  const refused = client.subscribe({ colour: "red" });
  const closed = client.subscribe();
  const other = client.subscribe();
  await eventually(() => refused.state === "closed");
  closed.close();
  client.close();
  await eventually(() => reported.length === 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    reported.map(({ name }) => name),
    ["InvalidParams"],
  );
  assert.deepEqual([closed.error, other.error?.name], [null, "ClientClosed"]);
  assert.throws(() => client.subscribe(), ClientClosed);
});

test("a filter that cannot be sent is refused where it is written", async (t) => {
  const { server, client } = await pair(t);
  assert.throws(() => client.subscribe({ user: /** @type {any} */ (1n) }), TypeError);
  assert.throws(() => client.iterate({ user: "\ud800" }), TypeError);
  const { states } = follow(connectedTo(t, server, { messageBytes: 200 }), {
    filter: { user: numbers(100) },
  });
  await eventually(() => states.at(-1)?.[0] === "closed");
  assert.equal(states.at(-1)?.[1], "LimitExceeded");
});

test("an answer of an unknown form ends the feed", async (t) => {
  const { server, client } = await pair(t);
  server.trick("subscribe", (_, { peer, id }) => peer.send({ jsonrpc: "2.0", id, result: {} }));
  const { states } = follow(client);
  await eventually(() => states.at(-1)?.[0] === "closed");
  assert.equal(states.at(-1)?.[1], "ProtocolError");
  await client.ping();
});

test("a feed closed before it was answered is left, and its answer ignored", async (t) => {
  const { server, client } = await pair(t);
  const answer = deferred();
  server.trick("subscribe", hold(answer.promise));
  const { feed, seen } = follow(client);
  await eventually(() => server.called("subscribe").length === 1);
  feed.close();
  answer.resolve();
  await eventually(() => server.called("unsubscribe").length === 1);
  push(server, [1]);
  await client.ping();
  assert.deepEqual(seen, []);
});

// Stored cursors.

test("a stored cursor is loaded first, and what is finished is saved", async (t) => {
  const [time, page] = [new FakeTime(), new FakePage()];
  const { server, client } = await pair(t, { environment: { ...time, page: page.global } });
  push(server, numbers(10));
  /** @type {string[]} */
  const saved = [];
  const cursors = { load: async () => "e1.7", save: (/** @type {string} */ c) => saved.push(c) };
  const slow = deferred();
  const { feed, seen } = follow(client, {
    cursors,
    after: "start",
    onEntry: (/** @type {any} */ entry) => {
      seen.push(entry.event.n);
      return entry.event.n === 9 ? slow.promise : undefined;
    },
  });
  await eventually(() => seen.length === 3);
  assert.deepEqual(seen, [7, 8, 9]);
  page.hide();
  assert.deepEqual(saved, ["e1.9"]);
  slow.resolve();
  await eventually(() => feed.cursor === "e1.10");
  time.advance(1_000);
  assert.deepEqual(saved, ["e1.9", "e1.10"]);
  push(server, [10]);
  await eventually(() => feed.cursor === "e1.11");
  feed.close();
  assert.deepEqual(saved, ["e1.9", "e1.10", "e1.11"]);
  page.hide();
  assert.equal(saved.length, 3);
});

test("without a stored cursor the feed begins as it was told", async (t) => {
  const { server, client } = await pair(t);
  push(server, numbers(3));
  const cursors = { load: () => null, save: () => {} };
  const fresh = follow(client, { cursors, backfill: 1 });
  const told = follow(client, { cursors, after: "e1.1" });
  await eventually(() => fresh.feed.state === "live" && told.feed.state === "live");
  await eventually(() => fresh.seen.length > 0 && told.seen.length > 1);
  assert.deepEqual([fresh.seen, told.seen], [[2], [1, 2]]);
});

test("a stored text that is no cursor is a lost place, one that is given a mistake", async (t) => {
  const { server, client } = await pair(t);
  push(server, [1, 2]);
  /** @type {string[]} */
  const saved = [];
  const cursors = { load: () => "rubbish", save: (/** @type {string} */ c) => saved.push(c) };
  const { feed, seen } = follow(client, { cursors });
  await eventually(() => seen.length === 3);
  assert.deepEqual(seen, ["cursor", 1, 2]);
  feed.close();
  assert.deepEqual(saved, ["e1.2"]);
  const given = follow(client, { after: "rubbish", cursors: { ...cursors, load: () => null } });
  await eventually(() => given.states.at(-1)?.[0] === "closed");
  assert.deepEqual(given.states.at(-1), ["closed", "InvalidParams"]);
});

test("the entry that closes a feed is saved as finished", async (t) => {
  const { server, client } = await pair(t);
  push(server, numbers(3));
  /** @type {string[]} */
  const saved = [];
  const cursors = { load: () => null, save: (/** @type {string} */ c) => saved.push(c) };
  client.subscribe({}, { cursors, onEntry: (_, feed) => feed.close() });
  await eventually(() => saved.length > 0);
  assert.deepEqual(saved, ["e1.1"]);
});

test("a feed closed while its cursor is loaded never subscribes", async (t) => {
  const server = await fakeServer(t);
  const client = connectedTo(t, server);
  const loaded = deferred();
  const feed = client.subscribe({}, { cursors: { load: () => loaded.promise, save: () => {} } });
  feed.close();
  loaded.resolve("e1.1");
  await client.ping();
  await client.ping();
  assert.equal(feed.cursor, null);
  assert.deepEqual(server.called("subscribe"), []);
});
