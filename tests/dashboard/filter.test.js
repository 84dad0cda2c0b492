import assert from "node:assert/strict";
import { test } from "node:test";
import { Filter, splitValues } from "../../streamd/dashboard/filter.js";

const KEYS = ["user", "kind", "repo"];

/** @param {string} text */
const texts = (text) => splitValues(text, KEYS).map((word) => word.text);

test("a filter survives its address", () => {
  const filter = new Filter()
    .with("user", ["23", "291"])
    .with("kind", ["a b", "c&d=e#f", "Ünï 日本", "", "+1"]);
  const hash = filter.toHash();
  assert.match(hash, /^#user=23&user=291&kind=a\+b&/);
  assert.deepEqual(Filter.fromHash(hash).toObject(), filter.toObject());
  assert.equal(Filter.fromHash(hash).toHash(), hash);
  assert.equal(new Filter().toHash(), "");
  assert.deepEqual(Filter.fromHash("").toObject(), {});
  assert.deepEqual(Filter.fromHash("#").toObject(), {});
});

test("an address may be as long as browsers take it", { timeout: 20_000 }, () => {
  const hash = Array.from({ length: 200_000 }, (_, number) => `user=${number}`).join("&");
  assert.equal(Filter.fromHash(`#${hash}&user=7`).size, 200_000);
});

test("values are added once and taken away, and a key without values is gone", () => {
  const filter = new Filter().with("user", ["1", "2", "1"]);
  assert.deepEqual(filter.toObject(), { user: ["1", "2"] });
  assert.equal(filter.size, 2);
  assert(filter.has("user", "1") && !filter.has("user", "3") && !filter.has("kind", "1"));
  assert.deepEqual(filter.without("user", "1").toObject(), { user: ["2"] });
  assert.deepEqual(filter.without("user", "1").without("user", "2").toObject(), {});
  assert.deepEqual(filter.without("user").toObject(), {});
  assert.deepEqual(filter.without("kind", "1").toObject(), filter.toObject());
  assert.deepEqual(filter.toObject(), { user: ["1", "2"] }, "the filter itself never changes");
  assert.equal(filter.with("kind", []), filter);
});

test("a value is toggled", () => {
  const filter = new Filter().toggle("user", "1");
  assert.deepEqual(filter.toObject(), { user: ["1"] });
  assert.deepEqual(filter.toggle("user", "1").toObject(), {});
});

test("names of JavaScript's own are names like others", () => {
  const filter = Filter.fromHash("#__proto__=1&constructor=2&toString=3");
  assert.deepEqual(Object.keys(filter.toObject()), ["__proto__", "constructor", "toString"]);
  assert.equal(
    JSON.stringify(filter.toObject()),
    '{"__proto__":["1"],"constructor":["2"],"toString":["3"]}',
  );
});

test("a filter is a sentence", () => {
  const filter = new Filter().with("user", ["23", "291"]).with("kind", ["friend"]);
  assert.equal(`${filter}`, "user is 23 or 291, and kind is friend");
});

test("many values are split at commas, spaces and line ends; quotes keep them together", () => {
  assert.deepEqual(texts("23, 291,7\n8\r\n\t9 10;11"), ["23", "291", "7", "8", "9", "10;11"]);
  assert.deepEqual(texts('"two words" "a ""b"" c", d'), ["two words", 'a "b" c', "d"]);
  assert.deepEqual(texts(" , ,\n "), []);
  assert.deepEqual(texts('""'), [""]);
  assert.deepEqual(texts('"open'), ['"open']);
  assert.equal(texts(Array.from({ length: 10_000 }, (_, at) => at).join("\n")).length, 10_000);
});

test("a value may name its key, if there is one of that name", () => {
  assert.deepEqual(splitValues('user=23 kind="a b",colour=red =x 5', KEYS), [
    { key: "user", text: "23" },
    { key: "kind", text: "a b" },
    { key: null, text: "colour=red" },
    { key: null, text: "=x" },
    { key: null, text: "5" },
  ]);
});
