import assert from "node:assert/strict";
import { test } from "node:test";

import { here, tell } from "../src/streamd/environment.js";
import { eventually } from "./harness.js";

test("soon runs after what waits already, and leaves nothing behind", async () => {
  /** @type {string[]} */
  const order = [];
  await new Promise((resolve) => {
    here().soon(() => resolve(order.push("soon")));
    queueMicrotask(() => order.push("microtask"));
    order.push("now");
  });
  assert.deepEqual(order, ["now", "microtask", "soon"]);
  await eventually(() => !process.getActiveResourcesInfo().includes("MessagePort"));
});

test("a timer that is longer than timers can be does not go off at once", async (t) => {
  const { setTimeout, clearTimeout, soon } = here();
  const handle = setTimeout(assert.fail, Infinity);
  t.after(() => clearTimeout(handle));
  await new Promise((resolve) => setTimeout(() => soon(() => resolve(undefined)), 5));
});

test("an error goes to reportError, or to the console where there is none", (t) => {
  const error = new Error("mine");
  const logged = t.mock.method(console, "error", () => {});
  here().report(error);
  assert.deepEqual(logged.mock.calls[0]?.arguments, [error]);
  const reported = t.mock.fn();
  globalThis.reportError = reported;
  t.after(() => Reflect.deleteProperty(globalThis, "reportError"));
  here().report(error);
  assert.deepEqual(reported.mock.calls[0]?.arguments, [error]);
  assert.equal(logged.mock.callCount(), 1);
});

test("what a callback throws is reported, now or by a promise", async () => {
  /** @type {unknown[]} */
  const reported = [];
  const report = (/** @type {unknown} */ error) => reported.push(error);
  const error = new Error("mine");
  tell(() => {
    throw error;
  }, report);
  tell(() => Promise.reject(error), report);
  tell(() => Promise.resolve(1), report);
  tell(() => 2, report);
  await eventually(() => reported.length === 2);
  assert.deepEqual(reported, [error, error]);
});
