import assert from "node:assert/strict";
import { test } from "node:test";

import { LimitExceeded, ProtocolError } from "../src/streamd/errors.js";
import { encodeCall, parse } from "../src/streamd/protocol.js";
import { repositoryFile } from "./harness.js";

/** @import { Message } from "../src/streamd/protocol.js" */

const FRAMES = JSON.parse(repositoryFile("tests/vectors/frames.json"));

/**
 * The message as the vectors write it.
 *
 * @param {Message} message
 */
function written(message) {
  switch (message.type) {
    case "event": {
      const { type, subscription, entry } = message;
      return { type, subscription, ...entry };
    }
    case "shutdown":
      return { type: "shutdown", reconnect_after_ms: message.reconnectAfter };
    case "error":
    case "closed": {
      const { error, ...others } = message;
      const { name, code, data, retryable } = error;
      return { ...others, error: name, code, message: error.message, data, retryable };
    }
    default:
      return message;
  }
}

for (const { name, frame, messages } of FRAMES) {
  test(`frame: ${name}`, () => {
    if (messages === null) {
      assert.throws(() => parse(frame), ProtocolError);
    } else {
      assert.deepEqual(parse(frame).map(written), messages);
    }
  });
}

test("a frame of an odd kind is refused with a sentence that shows nothing of it", () => {
  const odd = [
    "secret",
    '["secret"]',
    '{"id": 1, "error": {"code": "secret", "message": "m"}}',
    '{"method": "event", "params": {"subscription": 1, "cursor": {"secret": 1}, "time": 0}}',
    '{"method": "event", "params": {"subscription": 1, "cursor": "c", "time": "secret"}}',
    '{"method": "event", "params": "secret"}',
    '{"method": "closed", "params": {"subscription": 1.5, "code": 1, "message": "secret"}}',
    '{"__proto__": {"id": 1, "result": "secret"}}',
  ];
  for (const frame of odd) {
    assert.throws(
      () => parse(frame),
      (error) => error instanceof ProtocolError && !error.message.includes("secret"),
      frame,
    );
  }
});

test("an event may have members of any name", () => {
  const event = '{"__proto__":{"polluted":1},"constructor":2,"toString":3,"hasOwnProperty":4}';
  const params = `{"subscription":1,"cursor":"c","time":0,"event":${event}}`;
  const [message] = parse(`{"jsonrpc":"2.0","method":"event","params":${params}}`);
  assert.ok(message?.type === "event");
  assert.equal(JSON.stringify(message.entry.event), event);
  assert.equal(Object.getPrototypeOf(message.entry.event), Object.prototype);
  assert.equal(/** @type {any} */ ({}).polluted, undefined);
});

test("a call is one frame", () => {
  const frame = encodeCall(7, "insert", { event: { a: 1 }, id: "x" });
  assert.deepEqual(JSON.parse(frame), {
    jsonrpc: "2.0",
    id: 7,
    method: "insert",
    params: { event: { a: 1 }, id: "x" },
  });
});

test("a call longer than message_bytes is refused, counted in bytes", () => {
  const size = (/** @type {string} */ text) => Buffer.byteLength(encodeCall(1, "m", { text }));
  for (const text of ["x".repeat(1_000), "é".repeat(1_000), "😀".repeat(1_000)]) {
    const bytes = size(text);
    encodeCall(1, "m", { text }, bytes);
    assert.throws(
      () => encodeCall(1, "m", { text }, bytes - 1),
      (error) =>
        error instanceof LimitExceeded &&
        error.limit === "message_bytes" &&
        error.max === bytes - 1 &&
        error.got === bytes,
    );
  }
});

test("what cannot be written as JSON is a TypeError", () => {
  /** @type {any} */
  const circle = {};
  circle.self = circle;
  assert.throws(() => encodeCall(1, "m", { circle }), TypeError);
  assert.throws(() => encodeCall(1, "m", { n: 1n }), TypeError);
});

test("half of a surrogate pair is refused where it is, and what only looks so is not", () => {
  for (const text of ["\ud83d", "a\udc00b", "\\\ud800", { ["\udfff"]: 1 }]) {
    assert.throws(() => encodeCall(1, "m", { text }), TypeError);
  }
  for (const text of ["😀", "\\ud800", "\\\\udc00", "ud800", "\u0000"]) {
    assert.deepEqual(JSON.parse(encodeCall(1, "m", { text })).params, { text });
  }
});
