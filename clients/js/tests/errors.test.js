import assert from "node:assert/strict";
import { test } from "node:test";

import * as streamd from "../src/streamd.js";
import {
  BY_CODE,
  CallTimeout,
  ClientClosed,
  ClientStopped,
  ConnectionLost,
  ConnectionRejected,
  LimitExceeded,
  PlaceLost,
  RateLimited,
  RpcError,
  rpcError,
  StreamdError,
  Unreachable,
} from "../src/streamd/errors.js";
import { repositoryFile } from "./harness.js";

const ERRORS = Object.entries(streamd).filter(
  ([, value]) => value === StreamdError || value.prototype instanceof StreamdError,
);

test("every error has the name it is exported by", () => {
  for (const [name, kind] of ERRORS) {
    assert.equal(kind.prototype.name, name);
  }
  assert.equal(`${new ClientClosed()}`, "ClientClosed: the client is closed");
});

test("the names are the Python client's, but for those of HTTP", () => {
  const python = repositoryFile("clients/python/streamd_client/errors.py");
  const [, exported] = python.match(/__all__ = \[(.*?)\]/s) ?? [];
  const names = [...String(exported).matchAll(/"([A-Z]\w+)"/g)].map(([, name]) => name);
  const here = ERRORS.map(([name]) => name);
  assert.deepEqual([...here, "HandshakeRefused", "RequestRefused"].sort(), names.sort());
});

test("an error is found by its code", () => {
  for (const [code, kind] of BY_CODE) {
    const error = rpcError(code, "m", { a: 1 });
    assert.equal(error.constructor, kind);
    assert.deepEqual([error.code, error.message, error.data], [code, "m", { a: 1 }]);
  }
  assert.equal(rpcError(-32099, "m").constructor, RpcError);
  assert.equal(rpcError(-32099, "m").data, null);
});

test("three errors are retried", () => {
  const retried = [...BY_CODE.keys()].filter((code) => rpcError(code, "m").retryable);
  assert.deepEqual(retried, [-32005, -32010, -32011]);
});

test("what the server asks to wait is in milliseconds", () => {
  assert.equal(new RateLimited(-32005, "m", { retry_after_ms: 250 }).retryAfter, 250);
  assert.equal(new RateLimited(-32005, "m", { retry_after_ms: -3 }).retryAfter, 0);
  for (const data of [null, "odd", 3, [], {}, { retry_after_ms: "250" }]) {
    assert.equal(new RateLimited(-32005, "m", data).retryAfter, null);
  }
});

test("a limit tells its name and both numbers", () => {
  const error = new LimitExceeded(-32004, "m", { limit: "filter_values", max: 10, got: 11 });
  assert.deepEqual([error.limit, error.max, error.got], ["filter_values", 10, 11]);
  const odd = new LimitExceeded(-32004, "m", { limit: 1, max: "10" });
  assert.deepEqual([odd.limit, odd.max, odd.got], [null, null, null]);
});

test("a lost place tells why and where, whatever the server sends", () => {
  const error = new PlaceLost(-32007, "m", { reason: "epoch" }, "c1");
  assert.deepEqual([error.reason, error.cursor], ["epoch", "c1"]);
  assert.equal(
    new PlaceLost(-32007, "m", JSON.parse('{"__proto__": {"reason": "x"}}')).reason,
    null,
  );
  assert.equal(new PlaceLost(-32007, "m").cursor, null);
});

test("each error says its sentence", () => {
  const lost = new ConnectionLost("restarting", { code: 1012 });
  assert.equal(lost.message, "the connection was lost (close code 1012): restarting");
  assert.equal(new ConnectionLost("x").message, "the connection was lost: x");
  assert.equal(new Unreachable("x").message, "the server could not be reached: x");
  const late = new CallTimeout("ping", 50, lost);
  assert.equal(late.message, `ping was not answered within 50 ms: ${lost.message}`);
  assert.equal(late.cause, lost);
  assert.equal(new CallTimeout("ping", 50).message, "ping was not answered within 50 ms");
  const no = "the connection was closed for good with code 4512";
  assert.equal(new ConnectionRejected(4512, "abuse").message, `${no}: abuse`);
  assert.equal(new ConnectionRejected(4512).message, no);
});

test("the tree is as drawn", () => {
  assert.ok(new Unreachable("x") instanceof ConnectionLost);
  assert.ok(new ClientClosed() instanceof ClientStopped);
  assert.ok(new ConnectionRejected(4512) instanceof ClientStopped);
  assert.ok(!(new ConnectionLost("x") instanceof ClientStopped));
});
