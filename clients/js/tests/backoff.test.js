import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, callJitter, fullJitter, retryDelay } from "../src/streamd/backoff.js";
import { FakeTime } from "./harness.js";

const LOW = { random: () => 0 };
const HIGH = { random: () => 1 };

test("the ceiling doubles from 1 s to 20 s", () => {
  const ceilings = [0, 1, 2, 3, 4, 5, 6, 5_000].map((attempt) => fullJitter(attempt, HIGH));
  assert.deepEqual(ceilings, [1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000, 20_000]);
  assert.ok([0, 1, 2, 5_000].every((attempt) => fullJitter(attempt, LOW) === 500));
  assert.equal(fullJitter(1, { random: () => 0.5 }), 1_250);
});

test("calls are repeated sooner", () => {
  const ceilings = [0, 1, 2, 3, 4, 5].map((attempt) => callJitter(attempt, () => 1));
  assert.deepEqual(ceilings, [200, 400, 800, 1_600, 2_000, 2_000]);
  assert.equal(
    callJitter(3, () => 0),
    100,
  );
});

test("what the server asks for is the least", () => {
  assert.equal(
    retryDelay(0, 700, () => 200),
    700,
  );
  assert.equal(
    retryDelay(0, 100, () => 200),
    200,
  );
  assert.equal(
    retryDelay(0, null, () => 200),
    200,
  );
});

test("the delays grow until a connection was stable", () => {
  const time = new FakeTime();
  const backoff = new Backoff((attempt) => attempt, time);
  assert.deepEqual([backoff.next(), backoff.next()], [0, 1]);
  backoff.opened();
  time.advance(4_999);
  assert.equal(backoff.stable, false);
  assert.equal(backoff.next(), 2);
  backoff.opened();
  time.advance(5_000);
  assert.equal(backoff.stable, true);
  assert.deepEqual([backoff.next(), backoff.next()], [0, 1]);
});

test("a time that the server names goes first, once", () => {
  const backoff = new Backoff((attempt) => attempt, new FakeTime());
  backoff.told(1_234);
  assert.deepEqual([backoff.next(), backoff.next()], [1_234, 0]);
  backoff.told(-1);
  assert.equal(backoff.next(), 0);
  backoff.told(1_234);
  backoff.opened();
  assert.equal(backoff.next(), 1);
});
