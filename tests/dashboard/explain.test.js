import assert from "node:assert/strict";
import { test } from "node:test";
import { whyNot } from "../../streamd/dashboard/explain.js";

/**
 * @param {Partial<import("../../streamd/dashboard/explain.js").Explanation>} change
 */
const told = (change) =>
  whyNot({ found: true, matches: false, keys: [], grants: null, entry: null, ...change });

const MATCHED = { key: "kind", wanted: 1, matched: true, values: ["watch"] };
const OTHER = { key: "user", wanted: 2, matched: false, values: ["4", "5"] };
const NONE = { key: "repo", wanted: 1, matched: false, values: [] };

test("what keeps an entry out is said key by key", () => {
  assert.equal(told({ matches: true, keys: [MATCHED] }), "");
  assert.equal(told({ keys: [MATCHED, OTHER] }), "its user 4, 5 is not looked for");
  assert.equal(told({ keys: [OTHER, NONE] }), "its user 4, 5 is not looked for; it has no repo");
});

test("what may not be read is said so, whether by its place or by its grants", () => {
  assert.equal(told({ found: false }), "it may not be read here");
  const grant = { ...OTHER, values: [] };
  assert.equal(told({ keys: [MATCHED], grants: [[grant]] }), "it may not be read here");
});
