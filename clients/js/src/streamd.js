/**
 * The client of streamd, the real-time feed server, for browsers and Node.
 *
 *     import { connect } from "https://feed.example.org/streamd.js";
 *
 *     const client = connect("https://feed.example.org/");
 *     await client.insert({ kind: "watch", user: 291, repo: 2842 });
 *     client.subscribe({ user: [23, 291] }, { onEntry: ({ event }) => console.log(event) });
 *
 * The wire is described in `clients/PROTOCOL.md`, the errors in `streamd/errors.js`.
 */

/**
 * @typedef {import("./streamd/client.js").Options} Options
 * @typedef {import("./streamd/client.js").FollowOptions} FollowOptions
 * @typedef {import("./streamd/cursors.js").Cursors} Cursors
 * @typedef {import("./streamd/feed.js").Callbacks} Callbacks
 * @typedef {import("./streamd/link.js").LinkState} ClientState
 * @typedef {import("./streamd/subscription.js").FeedState} FeedState
 * @typedef {import("./streamd/values.js").Entry} Entry
 * @typedef {import("./streamd/values.js").Event} Event
 * @typedef {import("./streamd/values.js").Explanation} Explanation
 * @typedef {import("./streamd/values.js").Filter} Filter
 * @typedef {import("./streamd/values.js").History} History
 * @typedef {import("./streamd/values.js").Info} Info
 * @typedef {import("./streamd/values.js").Inserted} Inserted
 * @typedef {import("./streamd/values.js").KeyVerdict} KeyVerdict
 * @typedef {import("./streamd/values.js").Scalar} Scalar
 * @typedef {import("./streamd/values.js").Standing} Standing
 */

export { fullJitter } from "./streamd/backoff.js";
export { Client, connect } from "./streamd/client.js";
export { localStorageCursors } from "./streamd/cursors.js";
export {
  CallTimeout,
  ClientClosed,
  ClientStopped,
  ConnectionLost,
  ConnectionRejected,
  Forbidden,
  InternalError,
  InvalidParams,
  InvalidRequest,
  LimitExceeded,
  MethodNotFound,
  ParseError,
  PlaceLost,
  ProtocolError,
  RateLimited,
  RpcError,
  StoreUnavailable,
  StreamdError,
  Unauthorized,
  UnknownOutcome,
  UnknownSubscription,
  Unreachable,
} from "./streamd/errors.js";
export { Feed } from "./streamd/feed.js";
export { Iteration } from "./streamd/iteration.js";
