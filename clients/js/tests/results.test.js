import assert from "node:assert/strict";
import { test } from "node:test";

import { ProtocolError } from "../src/streamd/errors.js";
import {
  readExplanation,
  readHistory,
  readInfo,
  readInserted,
  readInsertedMany,
  readItems,
  readStandings,
  readSubscribed,
} from "../src/streamd/results.js";

const ENTRY = { cursor: "c", time: 1, event: { a: 1 } };
const SUBSCRIBED = {
  subscription: 1,
  entries: [ENTRY],
  before: null,
  cursor: "c",
  resumed: null,
  live: true,
};
const INFO = { server: "s", version: "1", epoch: "e", cursor: "c", keys: ["user"], limits: {} };
const VERDICT = { key: "user", wanted: 2, matched: true, values: ["23"] };
const EXPLANATION = { found: true, matches: true, keys: [VERDICT], grants: null, entry: ENTRY };
const STANDING = {
  subscription: 1,
  filter: { user: { count: 1, values: ["23"] } },
  state: "live",
  cursor: "c",
  lag: 0,
  entries: 1,
  bytes: 90,
};

test("results become values, and members of a later version are ignored", () => {
  assert.deepEqual(readItems([{ a: 1 }]), [{ a: 1 }]);
  const inserted = { cursor: "c", time: 1, duplicate: false };
  assert.deepEqual(readInserted({ ...inserted, later: 1 }), inserted);
  assert.deepEqual(readInsertedMany({ entries: [inserted] }), [inserted]);
  const page = { entries: [ENTRY], before: "b", cursor: "c" };
  assert.deepEqual(readHistory({ ...page, later: 1 }), page);
  assert.deepEqual(readSubscribed({ ...SUBSCRIBED, later: 1 }), { ...SUBSCRIBED, reason: null });
  const lost = { ...SUBSCRIBED, resumed: false, reason: "epoch" };
  assert.deepEqual(readSubscribed(lost), lost);
  assert.deepEqual(readInfo(INFO), { ...INFO, paths: {} });
  assert.deepEqual(readInfo({ ...INFO, paths: { user: "actor.login" } }).paths, {
    user: "actor.login",
  });
  assert.deepEqual(readExplanation({ ...EXPLANATION, later: 1 }), EXPLANATION);
  const { values: _, ...grant } = VERDICT;
  const { entry: __, ...asked } = { ...EXPLANATION, grants: [[grant]] };
  assert.deepEqual(readExplanation(asked), {
    ...asked,
    grants: [[{ ...grant, values: [] }]],
    entry: null,
  });
  const pending = { ...STANDING, filter: null, cursor: null, lag: null };
  assert.deepEqual(readStandings([{ ...STANDING, later: 1 }, pending]), [STANDING, pending]);
});

test("results of another form are protocol errors", () => {
  for (const odd of [null, 1, "x", {}, [], { entries: 1 }, { entries: [1] }]) {
    for (const read of [
      readInserted,
      readInsertedMany,
      readHistory,
      readInfo,
      readSubscribed,
      readExplanation,
    ]) {
      assert.throws(() => read(odd), ProtocolError);
    }
  }
  assert.throws(() => readItems({}), ProtocolError);
  for (const odd of [null, {}, [1], [{}], [{ ...STANDING, cursor: 5 }]]) {
    assert.throws(() => readStandings(odd), ProtocolError);
  }
  for (const change of [{ keys: [{}] }, { grants: [{}] }, { entry: 1 }, { found: 0 }]) {
    assert.throws(() => readExplanation({ ...EXPLANATION, ...change }), ProtocolError);
  }
  for (const change of [{ subscription: "1" }, { live: 1 }, { cursor: 5 }, { resumed: "yes" }]) {
    assert.throws(() => readSubscribed({ ...SUBSCRIBED, ...change }), ProtocolError);
  }
});
