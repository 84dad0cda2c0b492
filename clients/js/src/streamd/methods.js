/**
 * The methods of the wire: arguments become params, results become values. No I/O.
 *
 * @import { Event, Explanation, Filter, History, Info, Inserted, Standing } from "./values.js"
 */

import {
  readExplanation,
  readHistory,
  readInfo,
  readInserted,
  readInsertedMany,
  readItems,
  readStandings,
} from "./results.js";
import { plainFilter } from "./values.js";

/**
 * A call that can be made, and made again: an insert has its id before it is first sent. `read`
 * makes a value of the result.
 *
 * @template T
 * @typedef {object} Call
 * @property {string} method
 * @property {Record<string, unknown>} params
 * @property {(result: unknown) => T} read
 */

/**
 * Return the call that stores an event, with a random id if none is given.
 *
 * @param {Event} event
 * @param {string | null} [id]
 * @returns {Call<Inserted>}
 */
export function insert(event, id) {
  return { method: "insert", params: { event, id: id ?? randomId() }, read: readInserted };
}

/**
 * Return the call that stores all the events or none; ids that are null or absent are made.
 *
 * Throws a `RangeError` where there are more or fewer ids than events.
 *
 * @param {Iterable<Event>} events
 * @param {(string | null)[] | null} [ids]
 * @returns {Call<Inserted[]>}
 */
export function insertMany(events, ids) {
  const all = Array.from(events);
  const given = ids ?? all.map(() => null);
  if (given.length !== all.length) {
    throw new RangeError(`${all.length} events and ${given.length} ids`);
  }
  const params = { events: all, ids: given.map((id) => id ?? randomId()) };
  return { method: "insert_many", params, read: readInsertedMany };
}

/**
 * Return the call for a slice of the matching events, counted from the newest.
 *
 * @param {Filter | null | undefined} filter
 * @param {number} start
 * @param {number} end
 * @returns {Call<Event[]>}
 */
export function items(filter, start, end) {
  return { method: "items", params: { filter: plainFilter(filter), start, end }, read: readItems };
}

/**
 * Return the call for a page of the matching entries.
 *
 * @param {Filter | null | undefined} filter
 * @param {string | null | undefined} before
 * @param {number} limit
 * @returns {Call<History>}
 */
export function history(filter, before, limit) {
  /** @type {Record<string, unknown>} */
  const params = { filter: plainFilter(filter), limit };
  if (before != null) {
    params.before = before;
  }
  return { method: "history", params, read: readHistory };
}

/**
 * Return the call that tells why an entry, or such an event, does or does not match.
 *
 * Throws a `TypeError` where neither a cursor nor an event is given, or both.
 *
 * @param {Filter | null | undefined} filter
 * @param {{cursor?: string | null, event?: Event | null}} what
 * @returns {Call<Explanation>}
 */
export function explain(filter, { cursor, event }) {
  if ((cursor == null) === (event == null)) {
    throw new TypeError("a cursor or an event is needed, one of them");
  }
  const what = event == null ? { cursor } : { event };
  return {
    method: "explain",
    params: { filter: plainFilter(filter), ...what },
    read: readExplanation,
  };
}

/**
 * Return the call for how far the subscriptions of the connection are.
 *
 * @returns {Call<Standing[]>}
 */
export function subscriptions() {
  return { method: "subscriptions", params: {}, read: readStandings };
}

/**
 * Return the call for what the server says about itself.
 *
 * @returns {Call<Info>}
 */
export function info() {
  return { method: "info", params: {}, read: readInfo };
}

/**
 * Return the call that does nothing.
 *
 * @returns {Call<unknown>}
 */
export function ping() {
  return { method: "ping", params: {}, read: (result) => result };
}

/** Return 128 random bits as 22 ASCII characters. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const base64 = btoa(String.fromCharCode(...bytes));
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
