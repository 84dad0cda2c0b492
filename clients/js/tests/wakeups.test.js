import assert from "node:assert/strict";
import { test } from "node:test";

import { Wakeups } from "../src/streamd/wakeups.js";
import { FakePage } from "./harness.js";

test("the network coming back and the tab being seen wake", () => {
  const page = new FakePage();
  let woken = 0;
  const wakeups = new Wakeups(page.global, () => (woken += 1));
  page.online();
  assert.equal(woken, 0, "not started yet");
  wakeups.start();
  page.online();
  assert.equal(woken, 1);
  page.show("hidden");
  assert.equal(woken, 1);
  page.show("visible");
  assert.equal(woken, 2);
  wakeups.stop();
  wakeups.stop();
  page.online();
  page.show("visible");
  assert.equal(woken, 2);
});

test("a worker has no document, and Node has nothing", () => {
  let woken = 0;
  const worker = new FakePage();
  const wakeups = new Wakeups({ ...worker.global, document: undefined }, () => (woken += 1));
  wakeups.start();
  worker.online();
  assert.equal(woken, 1);
  wakeups.stop();
  const node = new Wakeups({}, assert.fail);
  node.start();
  node.stop();
});
