import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../src/streamd.js";
import { websocketUrl } from "../src/streamd/address.js";
import { connectedTo, fakeServer } from "./harness.js";

test("http means the same server, and a relative URL is relative to the page", () => {
  assert.equal(websocketUrl("ws://localhost:8080/"), "ws://localhost:8080/");
  assert.equal(websocketUrl("wss://feed.example/a?b=c"), "wss://feed.example/a?b=c");
  assert.equal(websocketUrl("http://localhost:8080"), "ws://localhost:8080/");
  assert.equal(websocketUrl("HTTPS://feed.example/#part"), "wss://feed.example/");
  assert.equal(websocketUrl(new URL("http://localhost/")), "ws://localhost/");
  assert.equal(websocketUrl("/", "https://feed.example/page/?a#b"), "wss://feed.example/");
  assert.equal(
    websocketUrl("feed", "http://localhost:8080/page/"),
    "ws://localhost:8080/page/feed",
  );
  assert.equal(websocketUrl("ws://other/", "https://feed.example/"), "ws://other/");
});

test("other URLs are refused at once, and tell no password", () => {
  for (const url of ["", "localhost:8080", "ftp://localhost/", "ws://", "redis://x/", "/"]) {
    assert.throws(() => connect(url), TypeError, url);
  }
  for (const url of ["redis://me:secret@host/", "ws://me:secret@/", "ws://me:secret@x:0x/"]) {
    assert.throws(
      () => connect(url),
      (error) => error instanceof TypeError && !error.message.includes("secret"),
    );
  }
});

test("an http URL connects", async (t) => {
  const { url } = await fakeServer(t);
  assert.ok((await connectedTo(t, { url: url.replace("ws:", "http:") }).ping()) > 0);
});
