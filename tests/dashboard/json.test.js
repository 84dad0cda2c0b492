import assert from "node:assert/strict";
import { test } from "node:test";
import { findFault, readEvent } from "../../streamd/dashboard/json.js";

const GOOD = [
  "{}",
  " [ ] ",
  '{"a": [1, -2.5e+3, 0, -0, 1e20, true, false, null, "x\\u00e9\\n\\"\\/"], "b": {"c": {}}}',
  '"\u2028 is allowed"',
  "12",
];

/** @type {[string, number, number, RegExp][]} */
const BAD = [
  ['{"a": 1,,}', 1, 9, /name in double quotes/],
  ['{"a": 1,}', 1, 9, /name in double quotes/],
  ['{\n  "a": 1\n  "b": 2\n}', 3, 3, /comma or }/],
  ['{"a" 1}', 1, 6, /colon/],
  ["{'a': 1}", 1, 2, /double quotes/],
  ['{"a": }', 1, 7, /value is missing/],
  ["[1 2]", 1, 4, /comma or ]/],
  ["[1,]", 1, 4, /value is missing/],
  ['{"a": True}', 1, 7, /True is no value/],
  ['{"a": 01}', 1, 7, /not a number/],
  ['{"a": 1.}', 1, 7, /not a number/],
  ['{"a": -}', 1, 7, /not a number/],
  ['{"a": "x\ny"}', 1, 7, /no closing quote/],
  ['{"a": "x', 1, 7, /no closing quote/],
  ['{"a": "\t"}', 1, 8, /control character/],
  ['{"a": "\\x"}', 1, 8, /escape/],
  ['{"a": 1} x', 1, 10, /nothing may follow/],
  ['{"a": 12345678901234567890}', 1, 7, /so large a number/],
  ['{"a": 1e999}', 1, 7, /so large a number/],
  ["[".repeat(5_000), 1, 201, /too deeply/],
  ["", 1, 1, /value is missing/],
];

test("what is right has no fault", () => {
  for (const text of GOOD) {
    assert.equal(findFault(text), null, text);
    JSON.parse(text);
  }
});

test("what is wrong is named, with its place", () => {
  for (const [text, line, column, message] of BAD) {
    const fault = findFault(text);
    assert(fault, text);
    assert.match(fault.message, message, text);
    assert.deepEqual([fault.line, fault.column], [line, column], `${text}: ${fault.message}`);
  }
});

test("it judges as JSON.parse does, but for numbers that a browser can't keep", () => {
  const marks = ["{", "}", "[", "]", ":", ",", '"', "-", "\\", "\\u00", " ", "\n", "\t"];
  const parts = [...marks, '"a"', "1", ".5", "e3", "0", "true", "nul", "l"];
  let random = 7;
  const next = () => (random = (random * 48_271) % 2_147_483_647);
  let good = 0;
  for (let round = 0; round < 60_000; round++) {
    const pieces = Array.from({ length: 1 + (next() % 7) }, () => parts[next() % parts.length]);
    const text = pieces.join("");
    const isGood = parses(text);
    good += Number(isGood);
    assert.equal(findFault(text) === null, isGood, JSON.stringify(text));
  }
  assert(good > 1_000, `${good}`);
});

/** @param {string} text */
function parses(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test("an event is an object", () => {
  assert.deepEqual(readEvent('{"a": 1}'), { event: { a: 1 }, fault: null });
  assert.match(readEvent("[1]").fault ?? "", /object/);
  assert.match(readEvent("null").fault ?? "", /object/);
  assert.match(readEvent(" \n").fault ?? "", /write an event/);
  assert.equal(readEvent('{\n"a" 1}').fault, "line 2, column 5: a colon is missing after the name");
});
