import assert from "node:assert/strict";
import { test } from "node:test";

import { Calls } from "../src/streamd/calls.js";
import { ClientClosed, LimitExceeded } from "../src/streamd/errors.js";

/** @import { Answer } from "../src/streamd/protocol.js" */

/** @type {Answer} */
const ANSWER = { type: "answer", id: 1, result: "pong" };

test("ids rise, and a call is settled once", () => {
  const calls = new Calls(null);
  /** @type {unknown[]} */
  const seen = [];
  const [first] = calls.add("ping", {}, (...args) => seen.push(args), { lasting: true });
  const [second] = calls.add("ping", {}, () => seen.push("second"), { lasting: true });
  assert.deepEqual([first, second], [1, 2]);
  calls.settle(1, ANSWER, 40);
  calls.settle(1, ANSWER, 40);
  calls.settle("keepalive", ANSWER, 40);
  calls.settle(null, ANSWER, 40);
  assert.deepEqual(seen, [[ANSWER, 40]]);
  assert.equal(calls.size, 1);
});

test("only lasting calls outlive their connection, in their order", () => {
  const calls = new Calls(null);
  for (const lasting of [true, false, true]) {
    calls.add("ping", { lasting }, () => {}, { lasting });
  }
  calls.forgetPassing();
  const frames = calls.frames();
  assert.deepEqual(
    frames.map(([id]) => id),
    [1, 3],
  );
  assert.deepEqual(JSON.parse(String(frames[0]?.[1])).params, { lasting: true });
});

test("a call that was given up is not told", () => {
  const calls = new Calls(null);
  const [id] = calls.add("ping", {}, assert.fail, { lasting: true });
  calls.forget(id);
  calls.forget(id);
  calls.settle(id, ANSWER, 1);
  assert.equal(calls.size, 0);
});

test("when all fail, a call made meanwhile is another matter", () => {
  const calls = new Calls(null);
  const error = new ClientClosed();
  /** @type {unknown[]} */
  const seen = [];
  calls.add(
    "a",
    {},
    (outcome) => {
      seen.push(outcome);
      calls.add("b", {}, assert.fail, { lasting: true });
    },
    { lasting: true },
  );
  calls.add("c", {}, (outcome) => seen.push(outcome), { lasting: false });
  calls.fail(error);
  assert.deepEqual(seen, [error, error]);
  assert.equal(calls.size, 1);
});

test("a call that is too long is not entered", () => {
  const calls = new Calls(100);
  const add = (/** @type {string} */ text) => calls.add("m", { text }, () => {}, { lasting: true });
  assert.throws(() => add("x".repeat(100)), LimitExceeded);
  assert.equal(calls.size, 0);
  assert.equal(add("x")[0], 2);
});
