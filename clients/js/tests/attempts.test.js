import assert from "node:assert/strict";
import { test } from "node:test";

import { Attempts } from "../src/streamd/attempts.js";
import { CallTimeout, ConnectionLost, rpcError, Unreachable } from "../src/streamd/errors.js";
import { FakeTime } from "./harness.js";

const LIMITED = rpcError(-32005, "limited");
const OPEN = rpcError(-32010, "open");
const NO_STORE = rpcError(-32011, "no store");
const LOST = new ConnectionLost("gone");
const NEVER = new Unreachable("never there");

/** @param {number} [timeout] */
function attempts(timeout = 1_000) {
  const time = new FakeTime();
  const backoff = (/** @type {number} */ attempt) => 100 * (attempt + 1);
  return { time, call: new Attempts("insert", timeout, { clock: time.clock, backoff }) };
}

test("the pauses are those of the back-off, or longer if the server asks", () => {
  const { call } = attempts();
  assert.equal(call.pause(NO_STORE), 100);
  assert.equal(call.pause(NO_STORE), 200);
  assert.equal(call.pause(rpcError(-32011, "m", { retry_after_ms: 600 })), 600);
});

test("an error that is not retried is thrown at once", () => {
  const error = rpcError(-32602, "no");
  assert.throws(() => attempts().call.pause(error), error);
});

test("a pause beyond the deadline is not begun", () => {
  const { call, time } = attempts();
  time.advance(850);
  assert.equal(call.left, 150);
  assert.equal(call.pause(LIMITED), 100);
  assert.throws(() => call.pause(LIMITED), LIMITED);
});

test("without an answer it is a timeout, and the trouble its cause", () => {
  const { call } = attempts();
  const bare = call.verdict();
  assert.ok(bare instanceof CallTimeout && bare.cause === undefined);
  call.lost(NEVER);
  assert.equal(call.verdict().cause, NEVER);
  call.lost(LOST);
  assert.equal(call.verdict().cause, LOST);
  call.lost(NEVER);
  assert.equal(call.verdict().cause, LOST);
});

test("that nothing was stored is said only where that is known", () => {
  const known = attempts().call;
  known.lost(NEVER);
  known.pause(NO_STORE);
  assert.equal(known.verdict(), NO_STORE);
  const open = attempts().call;
  open.lost(LOST);
  open.pause(NO_STORE);
  assert.ok(open.verdict() instanceof CallTimeout);
});

test("an unknown outcome is not forgotten for a later error", () => {
  const { call } = attempts();
  call.pause(OPEN);
  call.pause(NO_STORE);
  assert.equal(call.verdict(), OPEN);
  call.lost(LOST);
  assert.equal(call.verdict(), OPEN);
});
