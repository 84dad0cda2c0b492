import assert from "node:assert/strict";
import { test } from "node:test";
import { Log } from "../../streamd/dashboard/log.js";

/** @typedef {import("../../streamd/dashboard/log.js").Entry} Entry */
/** @typedef {import("../../streamd/dashboard/log.js").Log} TheLog */

/**
 * @param {number} place
 * @param {string} [text]
 * @returns {Entry}
 */
const entry = (place, text = "") => ({ cursor: `c${place}`, time: place, event: { place, text } });

/**
 * The page of history before a place, of a log that begins at 0.
 *
 * @param {number} before
 * @param {number} length
 */
function page(before, length) {
  const places = Array.from({ length }, (_, at) => before - 1 - at).filter((place) => place >= 0);
  const oldest = places[places.length - 1];
  return { entries: places.map((place) => entry(place)), before: oldest > 0 ? `c${oldest}` : null };
}

/** @param {TheLog} log @returns {(number | string)[]} places from the newest on, gaps as texts */
function shown(log) {
  return Array.from({ length: log.size }, (_, at) => {
    const item = log.at(log.newest - at);
    assert(item);
    return item.entry ? item.entry.time : item.gap;
  });
}

/** @param {number} from @param {number} to */
const down = (from, to) => Array.from({ length: from - to + 1 }, (_, at) => from - at);

test("what comes is on top, and keeps its number while others come", () => {
  const log = new Log();
  log.start(page(5, 3));
  const number = log.newest;
  log.add(entry(5));
  log.add(entry(6));
  assert.deepEqual(shown(log), [6, 5, 4, 3, 2]);
  assert.equal(log.fresh, 0, "only what waits is fresh");
  assert.equal(log.at(number)?.entry?.time, 4);
  assert.equal(log.before, "c2");
});

test("a long list has all in order, whichever end it grew at", () => {
  const log = new Log();
  log.start(page(1_000, 100));
  for (let place = 1_000; place < 1_500; place++) log.add(entry(place));
  while (log.before !== null) log.older(page(Number(log.before.slice(1)), 100));
  assert.deepEqual(shown(log), down(1_499, 0));
});

test("a held list stands still, counts, and goes on with all that came", () => {
  const log = new Log();
  log.start(page(3, 3));
  log.hold();
  for (const place of [3, 4, 5]) log.add(entry(place));
  assert.deepEqual(shown(log), [2, 1, 0]);
  assert.equal(log.fresh, 3);
  log.release();
  assert.deepEqual(shown(log), [5, 4, 3, 2, 1, 0]);
  assert.equal(log.fresh, 0);
  assert.equal(log.held, false);
});

test("when more waits than is kept, the newest replace the list; the rest is paged to", () => {
  const log = new Log({ waiting: 4 });
  log.start(page(3, 3));
  const { generation } = log;
  log.hold();
  for (let place = 3; place < 13; place++) log.add(entry(place));
  assert.equal(log.fresh, 10);
  assert.equal(log.waiting, 4);
  assert.deepEqual(shown(log), [2, 1, 0]);
  log.release();
  assert.deepEqual(shown(log), [12, 11, 10, 9]);
  assert.notEqual(log.generation, generation);
  assert.equal(log.before, "c9");
  log.older(page(9, 100));
  assert.deepEqual(shown(log), down(12, 0));
  assert.equal(log.before, null);
});

test("a live list loses its oldest, which can be paged to again", () => {
  const log = new Log({ shown: 5 });
  log.start(page(3, 3));
  assert.equal(log.before, null);
  for (let place = 3; place < 20; place++) log.add(entry(place));
  assert.deepEqual(shown(log), down(19, 15));
  assert.equal(log.before, "c15");
});

test("a list that is read far back loses its newest, which come again with the release", () => {
  const log = new Log({ shown: 6, waiting: 100 });
  log.start(page(30, 4));
  log.hold();
  log.add(entry(30));
  const oldest = log.oldest;
  assert.equal(log.older(page(26, 4)), 2);
  assert.deepEqual(shown(log), down(27, 22));
  assert.equal(log.at(oldest)?.entry?.time, 26);
  assert.equal(log.older(page(22, 4)), 4);
  assert.deepEqual(shown(log), down(23, 18));
  assert.equal(log.fresh, 1);
  log.release();
  // All in one run again, and the far end is cut.
  assert.deepEqual(shown(log), down(30, 25));
  assert.equal(log.before, "c25");
});

test("a list that has lost its newest for good begins anew with what waits", () => {
  const log = new Log({ shown: 4, waiting: 3 });
  log.start(page(100, 4));
  log.hold();
  for (let before = 96; before > 80; before -= 4) log.older(page(before, 4));
  assert.deepEqual(shown(log), down(83, 80));
  log.add(entry(100));
  log.release();
  assert.equal(log.at(log.newest)?.entry?.time, 100);
  assert.deepEqual(shown(log), down(100, 100 - log.size + 1));
  assert.equal(log.before, `c${100 - log.size + 1}`);
});

test("a gap is a line between entries, and never the end to page back from", () => {
  const log = new Log({ shown: 4 });
  log.start(page(2, 2));
  log.addGap("expired");
  log.add(entry(9));
  assert.deepEqual(shown(log), [9, "expired", 1, 0]);
  log.add(entry(10));
  assert.deepEqual(shown(log), [10, 9, "expired", 1]);
  log.add(entry(11));
  assert.deepEqual(shown(log), [11, 10, 9], "a gap is cut with what was before it");
  assert.equal(log.before, "c9");
});

test("large entries count for what they weigh", () => {
  const log = new Log({ bytes: 10_000 });
  for (let place = 0; place < 100; place++) log.add(entry(place, "x".repeat(1_000)));
  assert(log.size < 10 && log.size > 5, `${log.size}`);
  log.hold();
  for (let place = 100; place < 200; place++) log.add(entry(place, "x".repeat(1_000)));
  assert(log.waiting < 10 && log.waiting > 5, `${log.waiting}`);
  log.add(entry(200, "x".repeat(100_000)));
  assert.equal(log.waiting, 1, "the newest stays, however large it is");
});

test("those who count are told of each entry that comes and leaves", () => {
  const here = new Set();
  const watcher = {
    added: (/** @type {Entry} */ { cursor }) => {
      assert(!here.has(cursor));
      here.add(cursor);
    },
    dropped: (/** @type {Entry} */ { cursor }) => assert(here.delete(cursor)),
  };
  const log = new Log({ shown: 7, waiting: 5 }, watcher);
  let random = 1;
  let next = 1_000;
  log.start({ entries: [], before: "c1000" });
  for (let step = 0; step < 5_000; step++) {
    random = (random * 48_271) % 2_147_483_647;
    const choice = random % 100;
    if (choice < 60) log.add(entry(next++));
    else if (choice < 70) log.hold();
    else if (choice < 80 && log.held) log.release();
    else if (choice < 85) log.addGap("gap");
    else if (choice < 87) log.start({ entries: [entry(next++)], before: `c${next - 1}` });
    else if (log.before !== null) {
      log.older(page(Number(log.before.slice(1)), 3));
    }
    const present = [...log.entries()];
    assert.deepEqual(new Set(present.map(({ cursor }) => cursor)), here, `step ${step}`);
    assert(log.size <= 7 && log.waiting <= 5);
    const places = shown(log).filter((place) => typeof place === "number");
    if (places.length) assert.deepEqual(places, down(places[0], places[places.length - 1]));
  }
});
