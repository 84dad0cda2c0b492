/**
 * What calls return, of the wire's JSON. Each throws `ProtocolError` where it has another form.
 *
 * @import {
 *   Entry, Event, Explanation, History, Info, Inserted, KeyVerdict, Standing,
 * } from "./values.js"
 */

import { list, object, text, truth, whole } from "./kinds.js";

/**
 * @typedef {object} Subscribed the answer to `subscribe`
 * @property {number} subscription
 * @property {Entry[]} entries
 * @property {string | null} before
 * @property {string} cursor
 * @property {boolean | null} resumed
 * @property {string | null} reason
 * @property {boolean} live
 */

/**
 * Return an entry, of a result or of a notification.
 *
 * @param {any} value
 * @returns {Entry}
 */
export function readEntry(value) {
  return {
    cursor: text(value.cursor, "cursor"),
    time: whole(value.time, "time"),
    event: object(value.event, "event"),
  };
}

/**
 * Return the events of an `items` result.
 *
 * @param {unknown} result
 * @returns {Event[]}
 */
export function readItems(result) {
  return list(result, "the result of items");
}

/**
 * Return the acknowledgement in an `insert` result.
 *
 * @param {unknown} result
 * @returns {Inserted}
 */
export function readInserted(result) {
  const { cursor, time, duplicate } = object(result, "the result of insert");
  return {
    cursor: text(cursor, "cursor"),
    time: whole(time, "time"),
    duplicate: truth(duplicate, "duplicate"),
  };
}

/**
 * Return the acknowledgements in an `insert_many` result, in the order of the events.
 *
 * @param {unknown} result
 * @returns {Inserted[]}
 */
export function readInsertedMany(result) {
  const { entries } = object(result, "the result of insert_many");
  return list(entries, "entries").map(readInserted);
}

/**
 * Return the page in a `history` result.
 *
 * @param {unknown} result
 * @returns {History}
 */
export function readHistory(result) {
  const { entries, before, cursor } = object(result, "the result of history");
  return {
    entries: readEntries(entries),
    before: before === null ? null : text(before, "before"),
    cursor: text(cursor, "cursor"),
  };
}

/**
 * Return what an `info` result says.
 *
 * @param {unknown} result
 * @returns {Info}
 */
export function readInfo(result) {
  const {
    server,
    version,
    epoch,
    cursor,
    keys,
    paths = {},
    limits,
  } = object(result, "the result of info");
  return {
    server: text(server, "server"),
    version: text(version, "version"),
    epoch: text(epoch, "epoch"),
    cursor: text(cursor, "cursor"),
    keys: list(keys, "keys"),
    paths: object(paths, "paths"),
    limits: object(limits, "limits"),
  };
}

/**
 * Return what a `subscribe` result says.
 *
 * @param {unknown} result
 * @returns {Subscribed}
 */
export function readSubscribed(result) {
  const { subscription, entries, before, cursor, resumed, reason, live } = object(
    result,
    "the result of subscribe",
  );
  return {
    subscription: whole(subscription, "subscription"),
    entries: readEntries(entries),
    before: before === null ? null : text(before, "before"),
    cursor: text(cursor, "cursor"),
    resumed: resumed === null ? null : truth(resumed, "resumed"),
    reason: reason == null ? null : text(reason, "reason"),
    live: truth(live, "live"),
  };
}

/**
 * @param {unknown} value
 * @returns {Entry[]}
 */
function readEntries(value) {
  return list(value, "entries").map((entry) => readEntry(object(entry, "an entry")));
}

/**
 * Return what an `explain` result says.
 *
 * @param {unknown} result
 * @returns {Explanation}
 */
export function readExplanation(result) {
  const { found, matches, keys, grants, entry } = object(result, "the result of explain");
  return {
    found: truth(found, "found"),
    matches: truth(matches, "matches"),
    keys: readVerdicts(keys, "keys"),
    grants:
      grants === null ? null : list(grants, "grants").map((grant) => readVerdicts(grant, "grant")),
    entry: entry == null ? null : readEntry(object(entry, "entry")),
  };
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {KeyVerdict[]}
 */
function readVerdicts(value, name) {
  return list(value, name).map((each) => {
    const { key, wanted, matched, values = [] } = object(each, "a verdict");
    return {
      key: text(key, "key"),
      wanted: whole(wanted, "wanted"),
      matched: truth(matched, "matched"),
      values: list(values, "values"),
    };
  });
}

/**
 * Return what a `subscriptions` result says.
 *
 * @param {unknown} result
 * @returns {Standing[]}
 */
export function readStandings(result) {
  return list(result, "the result of subscriptions").map((each) => {
    const { subscription, filter, state, cursor, lag, entries, bytes } = object(each, "a standing");
    return {
      subscription: whole(subscription, "subscription"),
      filter: filter === null ? null : object(filter, "filter"),
      state: text(state, "state"),
      cursor: cursor === null ? null : text(cursor, "cursor"),
      lag: lag === null ? null : whole(lag, "lag"),
      entries: whole(entries, "entries"),
      bytes: whole(bytes, "bytes"),
    };
  });
}
