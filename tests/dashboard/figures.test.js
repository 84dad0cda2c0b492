import assert from "node:assert/strict";
import { test } from "node:test";
import { Counts } from "../../streamd/dashboard/counts.js";
import { Lag, Rates } from "../../streamd/dashboard/rates.js";

test("each whole second has its count, and the present one has none yet", () => {
  const rates = new Rates(5_300);
  rates.note(5_400);
  rates.note(5_999);
  rates.note(6_000);
  assert.deepEqual(rates.series(6_500, 3), [0, 0, 2]);
  assert.deepEqual(rates.series(8_000, 3), [2, 1, 0]);
  assert.equal(rates.total, 3);
});

test("what is older than two minutes is forgotten, also after a long sleep", () => {
  const rates = new Rates(0);
  for (let second = 0; second < 300; second++) rates.note(second * 1_000);
  assert.deepEqual(rates.series(300_000), Array(120).fill(1));
  assert.deepEqual(rates.series(360_000), [...Array(60).fill(1), ...Array(60).fill(0)]);
  assert.deepEqual(rates.series(10_000_000), Array(120).fill(0));
  assert.equal(rates.total, 300);
});

test("lag is what others took longer than the quickest, whatever the clocks say", () => {
  const lag = new Lag();
  assert.equal(lag.settle(), null);
  lag.note(1_000, 500_003); // the clock of this machine is behind by minutes
  lag.note(1_012, 500_010);
  lag.note(1_030, 500_030);
  assert.equal(lag.settle(), 5);
  assert.equal(lag.settle(), 5, "it stays when nothing came");
  lag.note(1_060, 500_063);
  assert.equal(lag.settle(), 0);
  assert.equal(lag.skew, -499_003);
});

/** @param {number} place @param {unknown} tag */
const entry = (place, tag) => ({ cursor: `${place}`, time: place, event: { tag } });
const TAG = { name: "tag", path: ["tag"] };

test("values are counted while their entries are here", () => {
  const counts = new Counts();
  const entries = [entry(1, "a"), entry(2, ["b", "a"]), entry(3, 7), entry(4, null)];
  counts.choose(TAG, entries.slice(0, 2));
  counts.added(entries[2]);
  counts.added(entries[3]);
  assert.deepEqual(counts.top(10), [
    ["a", 2],
    ["7", 1],
    ["b", 1],
  ]);
  for (const each of entries.slice(0, 2)) counts.dropped(each);
  assert.deepEqual(counts.top(10), [["7", 1]]);
  assert.equal(counts.size, 1);
});

test("the top are the most frequent of many", () => {
  const counts = new Counts();
  counts.choose(TAG, []);
  for (let value = 0; value < 300; value++) {
    for (let time = 0; time <= value % 100; time++) counts.added(entry(0, `v${value}`));
  }
  assert.deepEqual(
    counts.top(4),
    ["v199", "v299", "v99"].map((text) => [text, 100]).concat([["v198", 99]]),
  );
  assert.equal(counts.size, 300);
});

test("without a key nothing is counted", () => {
  const counts = new Counts();
  counts.added(entry(1, "a"));
  assert.deepEqual(counts.top(10), []);
});
