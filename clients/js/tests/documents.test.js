/** What the texts say is what the code does. */

import assert from "node:assert/strict";
import { test } from "node:test";

import * as streamd from "../src/streamd.js";
import { fullJitter, STABLE_AFTER } from "../src/streamd/backoff.js";
import { PING_INTERVAL, PING_TIMEOUT, TIMEOUT } from "../src/streamd/client.js";
import { isFinal } from "../src/streamd/connection.js";
import { BY_CODE } from "../src/streamd/errors.js";
import { MAX_ENTRIES, MAX_SIZE } from "../src/streamd/inbox.js";
import { MESSAGE_BYTES } from "../src/streamd/protocol.js";
import { eventually, fakeServer, repositoryFile } from "./harness.js";

const PROTOCOL = repositoryFile("clients/PROTOCOL.md");
const README = repositoryFile("clients/js/README.md");
const PACKAGE = JSON.parse(repositoryFile("clients/js/package.json"));

/**
 * Return the rows of the table in a section of the protocol, without its heading.
 *
 * @param {string} section
 */
function table(section) {
  const [, text] = PROTOCOL.split(`\n## ${section}\n`);
  const rows = String(text)
    .split("\n## ")[0]
    ?.matchAll(/^\|(.*)\|$/gm);
  const cells = [...(rows ?? [])].map(([, row]) =>
    String(row)
      .split("|")
      .map((cell) => cell.trim().replaceAll("−", "-")),
  );
  return /** @type {[string, string, string][]} */ (/** @type {unknown} */ (cells.slice(2)));
}

test("the version is the Python client's", () => {
  const python = repositoryFile("clients/python/streamd_client/__init__.py");
  assert.equal(PACKAGE.version, python.match(/__version__ = "(.*)"/)?.[1]);
});

test("the error table is the client's", () => {
  const rows = table("Errors").map(([code, name]) => [Number(code), name]);
  const here = [...BY_CODE].map(([code, { prototype }]) => [
    code,
    prototype.name.replaceAll(/(?<!^)[A-Z]/g, " $&").toLowerCase(),
  ]);
  assert.deepEqual(here, rows);
});

test("the close codes are the client's", () => {
  const rows = table("Close codes");
  assert.ok(rows.length > 10);
  for (const [codes, , reaction] of rows) {
    assert.match(reaction, /^(stops|comes back)/);
    for (const part of codes.split(",")) {
      const [first, last = first] = part.trim().split("–").map(Number);
      for (const code of [first, last]) {
        assert.equal(isFinal(Number(code)), reaction.startsWith("stops"), part);
      }
    }
  }
  assert.match(README, /1002, 1003, 1007–1010 and 4500–4999 stop/);
});

test("the numbers are those of the texts", () => {
  const limits = Object.fromEntries(table("Limits").map(([name, value]) => [name, value]));
  assert.equal(Number(limits["`message_bytes`"]), MESSAGE_BYTES);
  assert.equal(Number(limits["`ping`"]) * 1_000, PING_INTERVAL);
  assert.equal(Number(limits["`pong`"]) * 1_000, PING_TIMEOUT);
  assert.deepEqual([MAX_ENTRIES, MAX_SIZE], [1_000, 4 * 1024 * 1024]);
  assert.match(PROTOCOL, /1,000 entries or 4 MiB/);
  assert.match(PROTOCOL, new RegExp(`lasted ${STABLE_AFTER / 1_000} s`));
  assert.match(PROTOCOL, /0\.5 s to a ceiling that doubles from 1 s to 20 s/);
  assert.equal(fullJitter(0, { random: () => 0 }), 500);
  assert.equal(fullJitter(9, { random: () => 1 }), 20_000);
});

test("the table of options is the client's", () => {
  const rows = [...README.matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)].map(([, name, value]) => [
    name,
    value,
  ]);
  const digits = (/** @type {number} */ value) => value.toLocaleString("en");
  assert.deepEqual(rows, [
    ["getToken", "none"],
    ["timeout", digits(TIMEOUT)],
    ["messageBytes", digits(MESSAGE_BYTES)],
    ["pingInterval", digits(PING_INTERVAL)],
    ["pingTimeout", digits(PING_TIMEOUT)],
    ["backoff", "full jitter"],
    ["onState", "none"],
    ["WebSocket", "the platform's"],
  ]);
});

test("the tree of errors in the README is the client's", () => {
  const [, tree] = README.split("\n## Errors\n");
  const [names] = String(tree).split("\n## ");
  const drawn = new Set(String(names).match(/\b[A-Z]\w+/g));
  const kinds = Object.values(streamd).filter((value) => value.prototype instanceof Error);
  assert.deepEqual(
    [...drawn].sort(),
    kinds.map(({ prototype }) => /** @type {Error} */ (prototype).name).sort(),
  );
});

test("the states in the README are the client's", () => {
  const types = repositoryFile("clients/js/src/streamd/subscription.js");
  const [, feed] = types.match(/@typedef \{([^}]+)\} FeedState/) ?? [];
  assert.ok(README.includes(String(feed).replaceAll('"', "`").replaceAll(" | ", ", ")));
  const link = repositoryFile("clients/js/src/streamd/link.js");
  const [, client] = link.match(/@typedef \{([^}]+)\} LinkState/) ?? [];
  assert.ok(README.includes(String(client).replaceAll('"', "`").replaceAll(" | ", ", ")));
});

test("the first lines of the README work", async (t) => {
  const server = await fakeServer(t);
  const [, code] = README.match(/<script type="module">\n(.*?)<\/script>/s) ?? [];
  const lines = String(code)
    .trim()
    .split("\n")
    .map((line) => line.trim());
  assert.equal(lines.filter((line) => line !== "").length, 5);
  const [imports, ...others] = lines;
  assert.match(String(imports), /^import \{ connect \} from "https:\/\/.*\/streamd\.js";$/);
  const body = others.join("\n").replaceAll("https://feed.example.org/", server.url);
  /** @type {unknown[]} */
  const logged = [];
  const run = new Function(
    "connect",
    "console",
    `return (async () => { ${body}; return client; })()`,
  );
  const client = await run(streamd.connect, {
    log: (/** @type {unknown} */ said) => logged.push(said),
  });
  t.after(() => client.close());
  await eventually(() => logged.length === 2);
  const event = { kind: "friend", user: 23, friend: 291 };
  assert.deepEqual(logged, [[event], event]);
});
