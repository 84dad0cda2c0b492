/**
 * The wire, without I/O: calls become frames, frames become messages.
 *
 * @import { Entry } from "./values.js"
 */

import { LimitExceeded, ProtocolError, rpcError, RpcError } from "./errors.js";
import { object, text, unknownForm, whole } from "./kinds.js";
import { readEntry } from "./results.js";

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
