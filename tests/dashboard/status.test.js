import assert from "node:assert/strict";
import { test } from "node:test";
import { exampleEvent } from "../../streamd/dashboard/example.js";
import { Filter } from "../../streamd/dashboard/filter.js";
import { standing } from "../../streamd/dashboard/status.js";
import { asksForToken, isForbidden } from "../../streamd/dashboard/token.js";
import { readKeys } from "../../streamd/dashboard/values.js";

/** @typedef {import("../../streamd/dashboard/status.js").Situation} Situation */

/** @type {Situation} */
const LIVE = {
  client: "connected",
  feed: "live",
  paused: false,
  retryAt: null,
  asked: false,
  trouble: "",
};

test("a situation is a word or two", () => {
  /** @param {Partial<Situation>} change */
  const told = (change) => standing({ ...LIVE, ...change }, 10_000);
  assert.deepEqual(told({}), { state: "live", text: "Live" });
  assert.deepEqual(told({ paused: true }), { state: "paused", text: "Paused" });
  assert.equal(told({ feed: "catching up" }).text, "Catching up…");
  assert.equal(told({ feed: null }).text, "Connected");
  assert.equal(told({ client: "connecting" }).text, "Connecting…");
  assert.deepEqual(told({ client: "waiting", retryAt: 13_200 }), {
    state: "waiting",
    text: "Trying again in 4 s",
  });
  assert.equal(told({ client: "waiting", retryAt: 9_000 }).text, "Trying again…");
  assert.equal(told({ client: "waiting", paused: true }).state, "waiting");
  assert.equal(told({ client: "stopped" }).state, "stopped");
});

test("a token is asked for where the server asks for one", () => {
  const withCode = (/** @type {number} */ code) => Object.assign(new Error(), { code });
  for (const code of [4501, 4508, -32001]) assert(asksForToken(withCode(code)));
  for (const code of [4512, 1009, -32002]) assert(!asksForToken(withCode(code)));
  for (const code of [4501, -32001, -32002]) assert(isForbidden(withCode(code)));
  for (const code of [4512, 4029, -32004]) assert(!isForbidden(withCode(code)));
  assert(!isForbidden(null));
  assert(!asksForToken(new Error()));
  assert(!asksForToken(null));
});

test("the example has each key where it is read, with a value that the filter matches", () => {
  const keys = readKeys(["kind", "user", "login", "org"], {
    login: "actor.login",
    org: "actor.org.name",
  });
  assert.deepEqual(JSON.parse(exampleEvent(keys, new Filter())), {
    kind: "test",
    user: 2,
    actor: { login: 3, org: { name: 4 } },
    text: "Hello from the dashboard",
  });
  const filter = new Filter().with("user", ["291", "23"]).with("login", ["007"]);
  assert.deepEqual(JSON.parse(exampleEvent(keys, filter)), {
    kind: "test",
    user: 291,
    actor: { login: "007", org: { name: 4 } },
    text: "Hello from the dashboard",
  });
});
