import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { canonicalText, hueOf, readKeys, textsOf, weigh } from "../../streamd/dashboard/values.js";

/** @type {{json: string, text: string, lossy?: boolean}[]} */
const vectors = JSON.parse(
  readFileSync(new URL("../vectors/values.json", import.meta.url), "utf8"),
);

test("values have the texts that the server compares", () => {
  for (const { json, text, lossy } of vectors) {
    const found = canonicalText(JSON.parse(json));
    // A number that a browser can't keep has the text of the one that it reads instead.
    if (lossy) assert.notEqual(found, text, json);
    else assert.equal(found, text, json);
  }
});

test("what is no value of a key has no text", () => {
  for (const value of [null, undefined, {}, [], [1], Infinity, NaN]) {
    assert.equal(canonicalText(value), null);
  }
});

test("keys are read from their paths, which walk objects alone", () => {
  const [user, login, deep] = readKeys(["user", "login", "deep"], {
    user: "user",
    login: "actor.login",
    deep: "a.b.c",
  });
  const event = { user: 23, actor: { login: "ada" }, a: { b: [{ c: 1 }] } };
  assert.deepEqual(textsOf(event, user), ["23"]);
  assert.deepEqual(textsOf(event, login), ["ada"]);
  assert.deepEqual(textsOf(event, deep), []);
  assert.deepEqual(textsOf({ actor: "ada" }, login), []);
  assert.deepEqual(textsOf({ user: null }, user), []);
});

test("without a path a key is read where its name says", () => {
  assert.deepEqual(readKeys(["user"], {}), [{ name: "user", path: ["user"] }]);
});

test("a list has each text once, and nulls in it are nothing", () => {
  const [tag] = readKeys(["tag"], {});
  assert.deepEqual(textsOf({ tag: [1, "1", 1.0, null, "b", true] }, tag), ["1", "b", "true"]);
});

test("an event has only what is in it", () => {
  const [proto, constructor, nested] = readKeys(["__proto__", "constructor", "x"], {
    x: "constructor.name",
  });
  for (const key of [proto, constructor, nested]) assert.deepEqual(textsOf({}, key), []);
  const event = JSON.parse('{"__proto__": "p", "constructor": {"name": "n"}}');
  assert.deepEqual(textsOf(event, proto), ["p"]);
  assert.deepEqual(textsOf(event, nested), ["n"]);
});

test("a text has one colour, and common kinds have different ones", () => {
  const kinds = ["push", "watch", "friend", "release", "issue", "comment", "fork", "star"];
  const hues = kinds.map(hueOf);
  assert.deepEqual(hues, kinds.map(hueOf));
  assert.equal(new Set(hues).size, kinds.length);
  for (const hue of hues) assert(hue >= 0 && hue < 360 && hue % 15 === 0, `${hue}`);
});

test("what weighs much is heavy", () => {
  assert(weigh({ text: "x".repeat(60_000) }) > 60_000);
  assert(weigh({ list: Array(1_000).fill({ a: 1 }) }) > 30_000);
  assert(weigh({ a: 1, b: null, c: true }) < 200);
});
