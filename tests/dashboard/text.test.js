import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ago,
  brief,
  counted,
  duration,
  exactTime,
  pathsOf,
  pretty,
  printable,
  summary,
} from "../../streamd/dashboard/text.js";

const NONE = new Map();

test("what is invisible or turns the direction is shown as an escape", () => {
  assert.equal(printable("a\u202eb"), "a\\u202eb");
  assert.equal(printable("\u0000\n\t\u0085"), "\\u0000\\u000a\\u0009\\u0085");
  assert.equal(printable("\u200b\u2028\ufeff"), "\\u200b\\u2028\\ufeff");
  assert.equal(printable("\u2066\u2069\u061c"), "\\u2066\\u2069\\u061c");
  assert.equal(printable("\ud800x"), "\\ud800x");
  assert.equal(printable("\u{e0041}"), "\\udb40\\udc41");
});

test("what people write is shown as it is", () => {
  const texts = [
    "plain",
    "Ünï",
    "日本語",
    "👩‍👩‍👧",
    "می‌خواهم",
    "שלום",
    "<img src=x onerror=alert(1)>",
  ];
  for (const text of texts) {
    assert.equal(printable(text), text);
  }
});

test("a cut text ends between two characters", () => {
  assert.equal(brief("abcdef", 6), "abcdef");
  assert.equal(brief("abcdef", 3), "abc…");
  assert.equal(brief("ab🎉cd", 3), "ab…");
  assert.equal(brief("x".repeat(60_000), 10), `${"x".repeat(10)}…`);
});

test("an event as JSON stays JSON", () => {
  const event = JSON.parse('{"__proto__": {"a": 1}, "text": "\\u202e\\n\\u2028", "n": [1, null]}');
  const text = pretty(event);
  assert.deepEqual(JSON.parse(text), event);
  assert.match(text, /^[\x20-\x7e\n]*$/);
  assert.match(text, /"__proto__": \{\n/);
});

test("a summary leaves out what the keys show, and nulls", () => {
  const shown = pathsOf([{ path: ["kind"] }, { path: ["actor", "login"] }]);
  const event = { kind: "push", actor: { login: "ada", id: 7 }, none: null, size: 3, text: "hi" };
  assert.deepEqual(summary(event, shown, 100), [
    ["actor", "{id: 7}"],
    ["size", "3"],
    ["text", "hi"],
  ]);
  assert.deepEqual(summary({ kind: "push", actor: { login: "ada" } }, shown, 100), []);
});

test("paths may lie within one another", () => {
  const inner = pathsOf([{ path: ["a"] }, { path: ["a", "b"] }]);
  const outer = pathsOf([{ path: ["a", "b"] }, { path: ["a"] }]);
  for (const paths of [inner, outer]) assert.deepEqual(summary({ a: { b: 1 } }, paths, 100), []);
});

test("a summary of much is short, and soon made", () => {
  const event = {
    long: "x".repeat(60_000),
    many: Array.from({ length: 10_000 }, (_, at) => ({ at })),
    deep: JSON.parse("[".repeat(60) + "]".repeat(60)),
  };
  const length = (/** @type {[string, string][]} */ pairs) => pairs.flat().join(" ").length;
  assert(length(summary(event, NONE, 200)) < 260);
  assert(length(summary({ many: event.many }, NONE, 200)) < 260);
  assert.deepEqual(summary({ deep: event.deep }, NONE, 200), [["deep", "[[[[…]]]]"]]);
  const names = Array.from({ length: 5_000 }, (_, at) => [`name${at}`, "a value"]);
  assert(summary(Object.fromEntries(names), NONE, 200).length < 20);
  const started = performance.now();
  for (let time = 0; time < 1_000; time++) summary(event, NONE, 200);
  assert(performance.now() - started < 1_000);
});

test("an empty text and an empty object are not left out of a list", () => {
  assert.deepEqual(summary({ list: [1, "a", false] }, NONE, 100), [["list", "[1, a, false]"]]);
});

test("names and texts of a summary are printable", () => {
  assert.deepEqual(summary({ "\u202en": "\u202et" }, NONE, 100), [["\\u202en", "\\u202et"]]);
});

test("times are told in one unit", () => {
  assert.deepEqual([-5, 0, 999, 1_000, 59_999].map(ago), ["now", "now", "now", "1s", "59s"]);
  assert.deepEqual([60_000, 3_599_999, 3_600_000].map(ago), ["1m", "59m", "1h"]);
  assert.deepEqual([86_400_000, 864_000_000].map(ago), ["1d", "10d"]);
});

test("durations have the digits that matter", () => {
  assert.deepEqual([0, 0.44, 9.94, 12.3, 999, 1_000, 3_140, 61_000].map(duration), [
    "0 ms",
    "0.4 ms",
    "9.9 ms",
    "12 ms",
    "999 ms",
    "1 s",
    "3.1 s",
    "1m",
  ]);
});

test("exact times are exact", () => {
  assert.equal(exactTime(1_795_449_600_123), "2026-11-23 16:00:00.123 UTC");
});

test("a number has its noun", () => {
  assert.equal(counted(1, "entry", "entries"), "1 entry");
  assert.equal(counted(12_345, "entry", "entries"), "12,345 entries");
});
