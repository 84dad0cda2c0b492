// The public interface as a typed program uses it; checked by tsc, never run.

import { WebSocket as OfWs } from "ws";
import {
  CallTimeout,
  Client,
  connect,
  Feed,
  fullJitter,
  Iteration,
  localStorageCursors,
  PlaceLost,
  RpcError,
  StreamdError,
} from "../src/streamd.js";
import type {
  ClientState,
  Cursors,
  Entry,
  Event,
  Explanation,
  FeedState,
  Filter,
  History,
  Info,
  Inserted,
  Options,
  Standing,
} from "../src/streamd.js";

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <T extends true>(): T => true as T;

const options: Options = {
  getToken: async () => "token",
  timeout: 10_000,
  messageBytes: null,
  pingInterval: 25_000,
  pingTimeout: 8_000,
  backoff: (attempt) => fullJitter(attempt, { low: 500, high: 20_000, random: Math.random }),
  onState: (state, error) => {
    same<Same<typeof state, ClientState>>();
    same<Same<typeof error, StreamdError | null>>();
  },
  WebSocket: globalThis.WebSocket,
};
const client: Client = connect("wss://feed.example.org/", options);
connect(new URL("https://feed.example.org/"));
connect("ws://feed.example.org/", { WebSocket: OfWs });
// @ts-expect-error: no such option
connect("/", { reconnect: true });

same<Same<typeof client.state, ClientState>>();
same<Same<typeof client.connected, boolean>>();
same<Same<typeof client.retryAt, number | null>>();
client.trouble satisfies StreamdError | null;
same<Same<ClientState, "connecting" | "connected" | "waiting" | "stopped">>();
same<Same<FeedState, "subscribing" | "catching up" | "live" | "paused" | "closed">>();

const filter: Filter = { kind: "watch", user: [23, "291"], repo: new Set([1]), open: true };
// @ts-expect-error: no value of a key
const wrong: Filter = { user: { id: 1 } };

const inserted: Inserted = await client.insert({ user: 1 }, { id: "mine", timeout: 1_000 });
same<Same<typeof inserted.duplicate, boolean>>();
const many: Inserted[] = await client.insertMany([{ user: 1 }], { ids: [null] });
const events: Event[] = await client.items(filter, { start: 1, end: 3 });
const page: History = await client.history(null, { before: null, limit: 5 });
const info: Info = await client.info();
same<Same<typeof info.keys, string[]>>();
same<Same<typeof info.paths, Record<string, string>>>();
same<Same<typeof page.before, string | null>>();
const why: Explanation = await client.explain(filter, { cursor: page.cursor });
same<Same<typeof why.entry, Entry | null>>();
await client.explain(null, { event: { user: 1 }, timeout: 1_000 });
// @ts-expect-error: a cursor or an event
await client.explain(filter);
const standings: Standing[] = await client.subscriptions();
same<Same<(typeof standings)[0]["cursor"], string | null>>();
client.wake();
const milliseconds: number = await client.ping({ timeout: 1_000 });

const cursors: Cursors = localStorageCursors("feed");
const stored: Cursors = { load: async () => null, save: async (cursor: string) => cursor };
const feed: Feed = client.subscribe(filter, {
  backfill: 20,
  after: null,
  cursors,
  onEntry: async ({ cursor, time, event }, self) => {
    same<Same<typeof cursor, string>>();
    same<Same<typeof time, number>>();
    console.log(event.kind);
    self.close();
  },
  onState: (state) => {
    same<Same<typeof state, FeedState>>();
  },
  onGap: (gap) => gap.reason satisfies string | null,
});
same<Same<typeof feed.cursor, string | null>>();
same<Same<typeof feed.live, boolean>>();
feed.error satisfies StreamdError | null;

const iteration: Iteration = client.iterate({}, { after: "start", cursors: stored });
iteration satisfies AsyncIterableIterator<Entry>;
try {
  for await (const entry of iteration) {
    entry satisfies Entry;
  }
} catch (error) {
  if (error instanceof PlaceLost) {
    error.cursor satisfies string | null;
  } else if (error instanceof RpcError) {
    error.retryAfter satisfies number | null;
  } else if (error instanceof CallTimeout) {
    error.timeout satisfies number;
  }
}
client.close();

export { events, many, milliseconds, wrong };
