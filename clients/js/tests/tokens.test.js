import assert from "node:assert/strict";
import { test } from "node:test";

import { here } from "../src/streamd/environment.js";
import { Unreachable } from "../src/streamd/errors.js";
import { Tokens } from "../src/streamd/tokens.js";
import { deferred, FakeTime } from "./harness.js";

/** @param {() => any} getToken */
function tokens(getToken) {
  const time = new FakeTime();
  const environment = { ...here(), ...time };
  return { time, tokens: new Tokens(getToken, { timeout: 1_000, environment }) };
}

test("a token is kept until it is dropped", async () => {
  let asked = 0;
  const { tokens: kept, time } = tokens(async () => `t${(asked += 1)}`);
  assert.equal(await kept.get(), "t1");
  assert.equal(kept.fresh, true);
  assert.equal(await kept.get(), "t1");
  assert.equal(kept.fresh, false);
  kept.drop();
  assert.equal(await kept.get(), "t2");
  assert.equal(kept.fresh, true);
  assert.deepEqual(time.pending, []);
});

test("a getToken that fails is passing trouble", async () => {
  const cause = new Error("signed out");
  for (const getToken of [
    () => Promise.reject(cause),
    () => {
      throw cause;
    },
  ]) {
    await assert.rejects(tokens(getToken).tokens.get(), (error) => {
      assert.ok(error instanceof Unreachable);
      assert.deepEqual([error.reason, error.cause], ["getToken failed: signed out", cause]);
      return true;
    });
  }
  for (const [odd, said] of [
    [undefined, "undefined"],
    [null, "null"],
    [7, "number"],
  ]) {
    await assert.rejects(tokens(() => odd).tokens.get(), {
      name: "Unreachable",
      reason: `getToken failed: it gave no text but ${said}`,
    });
  }
});

test("a getToken that hangs is given up, and asked again", async () => {
  const answer = deferred();
  const { tokens: slow, time } = tokens(() => answer.promise);
  const first = slow.get();
  time.advance(1_000);
  await assert.rejects(first, { reason: "getToken failed: nothing came within 1000 ms" });
  answer.resolve("t1");
  assert.equal(await slow.get(), "t1");
});

test("nothing waits when nobody wants it any more", () => {
  const { tokens: slow, time } = tokens(() => new Promise(() => {}));
  slow.get();
  slow.cancel();
  assert.deepEqual(time.pending, []);
});
