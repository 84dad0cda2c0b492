import assert from "node:assert/strict";
import { test } from "node:test";

import { rpcError } from "../src/streamd/errors.js";
import { Routes } from "../src/streamd/routes.js";

/** @import { Message } from "../src/streamd/protocol.js" */

const ENTRY = { cursor: "c", time: 1, event: {} };
const LOST = rpcError(-32007, "m");

/** @returns {any} */
function subscriber() {
  /** @type {unknown[]} */
  const heard = [];
  const note =
    (/** @type {string} */ what) =>
    (/** @type {unknown[]} */ ...args) =>
      void heard.push([what, ...args]);
  return {
    heard,
    received: note("received"),
    progressed: note("progressed"),
    closedByServer: note("closed"),
  };
}

test("each number has its subscriber, and one that nobody has is ignored", () => {
  const [first, second] = [subscriber(), subscriber()];
  const routes = new Routes();
  routes.add(1, first);
  routes.add(2, second);
  /** @type {Message[]} */
  const messages = [
    { type: "event", subscription: 1, entry: ENTRY },
    { type: "event", subscription: 3, entry: ENTRY },
    { type: "progress", subscription: 2, cursor: "c", live: false },
    { type: "progress", subscription: 3, cursor: "c", live: true },
    { type: "progress", subscription: null, cursor: "d", live: false },
    { type: "closed", subscription: 1, error: LOST },
    { type: "closed", subscription: 1, error: LOST },
    { type: "event", subscription: 1, entry: ENTRY },
    { type: "unknown", method: "weather" },
  ];
  messages.forEach((message) => routes.receive(message, 40));
  assert.deepEqual(first.heard, [
    ["received", ENTRY, 40],
    ["progressed", "d", true],
    ["closed", LOST],
  ]);
  assert.deepEqual(second.heard, [
    ["progressed", "c", false],
    ["progressed", "d", true],
  ]);
});

test("removed numbers are ignored, and so are all when the connection is gone", () => {
  const [first, second] = [subscriber(), subscriber()];
  const routes = new Routes();
  routes.add(1, first);
  routes.add(2, second);
  routes.remove(1);
  routes.receive({ type: "event", subscription: 1, entry: ENTRY }, 1);
  routes.clear();
  routes.receive({ type: "event", subscription: 2, entry: ENTRY }, 1);
  routes.receive({ type: "progress", subscription: null, cursor: "d", live: false }, 1);
  assert.deepEqual([first.heard, second.heard], [[], []]);
});
