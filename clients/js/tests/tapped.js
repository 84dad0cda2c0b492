/**
 * Do everything with a server, and go on when the connection breaks: for the test that listens to it.
 *
 * Called with the server's URL and a token; says "break" when the connection may be broken off.
 */

import { connect } from "../src/streamd.js";
import { everything } from "./everything.js";
import { eventually } from "./harness.js";

const [url = "", token = ""] = process.argv.slice(2);
let connections = 0;
const client = connect(url, {
  backoff: () => 10,
  getToken: () => token,
  onState: (state) => {
    connections += Number(state === "connected");
  },
});

await everything(client);

/** @type {unknown[]} */
const seen = [];
const feed = client.subscribe({}, { backfill: 1, onEntry: ({ event }) => seen.push(event.n) });
await client.insert({ n: 1 });
await eventually(() => seen.at(-1) === 1);
console.log("break");
await eventually(() => connections === 2);
await client.insert({ n: 2 });
await eventually(() => seen.at(-1) === 2);
feed.close();
await client.ping();
client.close();
