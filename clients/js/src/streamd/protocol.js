/**
 * The wire, without I/O: calls become frames, frames become messages.
 *
 * @import { Entry, Event, History, Info, Inserted } from "./values.js"
 */

import { LimitExceeded, ProtocolError, rpcError, RpcError } from "./errors.js";

/** The server's limit of that name, unless it is set up otherwise. */
export const MESSAGE_BYTES = 1024 * 1024;

/**
 * @typedef {number | string | null} CallId
 */

/**
 * What the server sends: a call's result; a call's error, without an id when the server could not
 * tell which call it was; the next entry of a subscription; one subscription, or with null all of
 * the connection, got everything so far; a subscription was ended by the server; the server is
 * about to go; a notification that this version does not know, to be ignored.
 *
 * @typedef {{type: "answer", id: CallId, result: unknown}} Answer
 * @typedef {{type: "error", id: CallId, error: RpcError}} Failure
 * @typedef {{type: "event", subscription: number, entry: Entry}} Push
 * @typedef {{type: "progress", subscription: number | null, cursor: string,
 *   live: boolean}} Progress
 * @typedef {{type: "closed", subscription: number, error: RpcError}} Closed
 * @typedef {{type: "shutdown", reconnectAfter: number}} Shutdown
 * @typedef {{type: "unknown", method: unknown}} Unknown
 * @typedef {Answer | Failure | Push | Progress | Closed | Shutdown | Unknown} Message
 */

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

// Calls.

/**
 * Return the text frame of a call.
 *
 * Throws a `TypeError` where a parameter cannot be written as JSON, and `LimitExceeded` where the
 * frame is longer than `messageBytes`.
 *
 * @param {number | string} id
 * @param {string} method
 * @param {Record<string, unknown>} params
 * @param {number | null} [messageBytes] null for any
 * @returns {string}
 */
export function encodeCall(id, method, params, messageBytes = null) {
  const frame = JSON.stringify({ jsonrpc: "2.0", id, method, params });
  if (frame.includes("\\ud") && LONE_SURROGATE.test(frame)) {
    // The server could not read the frame, nor tell whose answer that is.
    throw new TypeError("a text holds half of a surrogate pair: it cannot be written as UTF-8");
  }
  // A longer one would cost every call and feed their connection, and again after each
  // reconnect: the server has no other way to refuse it than to close with 1009.
  if (messageBytes !== null && frame.length * 3 > messageBytes) {
    const got = new TextEncoder().encode(frame).length;
    if (got > messageBytes) {
      const data = { limit: "message_bytes", max: messageBytes, got };
      throw new LimitExceeded(-32004, "the call is too long for one message", data);
    }
  }
  return frame;
}

// The only escape of this kind that JSON.stringify writes, if its backslash is not escaped itself.
const LONE_SURROGATE = /[^\\](?:\\\\)*\\ud/;

// Frames.

/**
 * Return the messages of one frame: one, or as many as a batch holds.
 *
 * Throws `ProtocolError` where the frame is not of this protocol.
 *
 * @param {string} frame
 * @returns {Message[]}
 */
export function parse(frame) {
  const value = json(frame);
  return Array.isArray(value) ? value.map(readMessage) : [readMessage(value)];
}

/**
 * @param {string} frame
 * @returns {unknown}
 */
function json(frame) {
  try {
    return JSON.parse(frame);
  } catch {
    // The engine's own sentence quotes the frame, and an error shows no event.
    throw new ProtocolError("the server sent a frame that is not JSON");
  }
}

/**
 * @param {unknown} value
 * @returns {Message}
 */
function readMessage(value) {
  const message = object(value, "a message");
  if (message.method !== undefined) {
    return readNotification(message.method, message.params ?? {});
  }
  if (message.id === undefined) {
    throw unknownForm("an answer without an id");
  }
  if (message.error !== undefined && message.error !== null) {
    return { type: "error", id: message.id, error: readError(object(message.error, "error")) };
  }
  if (message.result === undefined) {
    throw unknownForm("an answer without a result");
  }
  return { type: "answer", id: message.id, result: message.result };
}

/**
 * @param {unknown} method
 * @param {any} params
 * @returns {Message}
 */
function readNotification(method, params) {
  switch (method) {
    case "event":
      return {
        type: "event",
        subscription: whole(params.subscription, "subscription"),
        entry: readEntry(params),
      };
    case "progress":
      return {
        type: "progress",
        subscription:
          params.subscription == null ? null : whole(params.subscription, "subscription"),
        cursor: text(params.cursor, "cursor"),
        live: params.live === true,
      };
    case "closed":
      return {
        type: "closed",
        subscription: whole(params.subscription, "subscription"),
        error: readError(params),
      };
    case "shutdown":
      return {
        type: "shutdown",
        reconnectAfter: whole(params.reconnect_after_ms, "reconnect_after_ms"),
      };
    default:
      return { type: "unknown", method };
  }
}

/**
 * @param {any} value
 * @returns {RpcError}
 */
function readError(value) {
  return rpcError(whole(value.code, "code"), text(value.message, "message"), value.data ?? null);
}

/**
 * @param {any} value
 * @returns {Entry}
 */
function readEntry(value) {
  return {
    cursor: text(value.cursor, "cursor"),
    time: whole(value.time, "time"),
    event: object(value.event, "event"),
  };
}

// Results. Each throws `ProtocolError` where the result has another form.

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

// Kinds.

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {string}
 */
function text(value, name) {
  if (typeof value !== "string") {
    throw unknownForm(`${name} is no text`);
  }
  return value;
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {number}
 */
function whole(value, name) {
  if (!Number.isInteger(value)) {
    throw unknownForm(`${name} is no whole number`);
  }
  return /** @type {number} */ (value);
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {boolean}
 */
function truth(value, name) {
  if (typeof value !== "boolean") {
    throw unknownForm(`${name} is neither true nor false`);
  }
  return value;
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {any[]}
 */
function list(value, name) {
  if (!Array.isArray(value)) {
    throw unknownForm(`${name} is no list`);
  }
  return value;
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {Record<string, any>}
 */
function object(value, name) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw unknownForm(`${name} is no object`);
  }
  return value;
}

/**
 * @param {string} what
 * @returns {ProtocolError}
 */
function unknownForm(what) {
  return new ProtocolError(`the server sent a message of an unknown form: ${what}`);
}
