/** What calls take and give: plain values, read once from the wire's JSON. */

/**
 * @typedef {Record<string, any>} Event any JSON object
 */

/**
 * @typedef {string | number | boolean} Scalar
 */

/**
 * @typedef {Record<string, Scalar | Iterable<Scalar>>} Filter keys and the values they may have:
 *   AND between keys, OR in a list. `{}` matches everything, an empty list nothing. `291` and
 *   `"291"` are one value.
 */

/**
 * @typedef {object} Entry an event with its place in the log
 * @property {string} cursor the place: everything up to and with this entry. Compare for equality
 *   only
 * @property {number} time when the store took it, in milliseconds since 1970 (UTC). Never decreases
 * @property {Event} event the event as it was inserted
 */

/**
 * @typedef {object} Inserted the acknowledgement of one event
 * @property {string} cursor the event's place
 * @property {number} time when the store took it, in milliseconds since 1970 (UTC)
 * @property {boolean} duplicate whether its id was known already, through an earlier attempt of
 *   this client too
 */

/**
 * @typedef {object} History a page of the past
 * @property {Entry[]} entries the entries, newest first
 * @property {string | null} before what to give as `before` for the next, older page; null at the
 *   end
 * @property {string} cursor what to give as `after` to follow what happens from this page on
 */

/**
 * @typedef {object} Info what the server says about itself
 * @property {string} server its name
 * @property {string} version
 * @property {string} epoch the part of the log that is written now; a restart may begin another, and cursors stay good
 * @property {string} cursor the newest place
 * @property {string[]} keys the names that a filter may use
 * @property {Record<string, string>} paths where each key is read from, as in "actor.login"; empty
 *   from a server that does not tell
 * @property {Record<string, any>} limits the server's limits by name
 */

/**
 * @typedef {object} KeyVerdict what one key of a filter, or of a grant, has to do with an event
 * @property {string} key
 * @property {number} wanted how many values are wanted
 * @property {boolean} matched whether the event has one of them
 * @property {string[]} values what the event has of this key, as texts; of a grant it is not told
 */

/**
 * @typedef {object} Explanation why an entry or an event does or does not match
 * @property {boolean} found whether there is such an entry that may be read; if not, nothing else
 *   is told
 * @property {boolean} matches whether a subscription gets it: by its filter, and by the grants of
 *   the token
 * @property {KeyVerdict[]} keys each key of the filter; all must match
 * @property {KeyVerdict[][] | null} grants what the token lets be read, of which one must match as
 *   a whole; null: everything
 * @property {Entry | null} entry the entry, where a cursor was asked about
 */

/**
 * @typedef {object} Standing how far a subscription of this connection is
 * @property {number} subscription
 * @property {Record<string, {count: number, values?: string[]}> | null} filter of each key the
 *   count of its values, and the values if they are few; null: nothing matches
 * @property {string} state "pending", "behind" or "live"
 * @property {string | null} cursor everything up to here was sent; null while it is not answered
 * @property {number | null} lag the places from there to the newest
 * @property {number} entries that were sent as events
 * @property {number} bytes of their frames
 */

/**
 * Return a filter of the caller's own, with every collection as a list.
 *
 * Throws a `TypeError` where it is no object of keys and values.
 *
 * @param {Filter | null | undefined} filter
 * @returns {Record<string, Scalar | Scalar[]>}
 */
export function plainFilter(filter) {
  const given = filter ?? {};
  if (typeof given !== "object" || Symbol.iterator in given) {
    throw new TypeError("a filter is an object, {key: value or [values]}");
  }
  // fromEntries: a key named __proto__ is a key like any other.
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, plain(value)]));
}

/**
 * @param {Scalar | Iterable<Scalar>} value
 * @returns {Scalar | Scalar[]}
 */
function plain(value) {
  if (typeof value === "object" && value !== null && Symbol.iterator in value) {
    return Array.from(value);
  }
  // What is no scalar, the server refuses by name. JSON would leave these out, with their keys, and
  // a filter that says less matches more.
  const isAbsent = ["undefined", "function", "symbol"].includes(typeof value);
  return isAbsent ? /** @type {any} */ (null) : value;
}
