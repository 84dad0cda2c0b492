/**
 * A small server that speaks the wire over a real WebSocket, keeps a log in a list, and can be told
 * to misbehave. It trusts its client: limits and most checks of the real server are not here.
 */

import { once } from "node:events";
import { WebSocketServer } from "ws";

/**
 * @typedef {{peer: Peer, id: any, method: string, params: any}} Call
 * @typedef {(server: FakeServer, call: Call) => void} Trick handles one call in the server's place
 * @typedef {Record<string, any>} Event
 */

class Fault extends Error {
  /**
   * @param {number} code
   * @param {string} message
   * @param {unknown} [data]
   */
  constructor(code, message, data) {
    super(message);
    this.error = { code, message, data };
  }
}

// Tricks for `FakeServer.trick`.

/**
 * Answer with an error, do nothing.
 *
 * @param {number} code
 * @param {unknown} [data]
 * @returns {Trick}
 */
export function fail(code, data) {
  return (_, { peer, id }) =>
    peer.send({ jsonrpc: "2.0", id, error: { code, message: "told to", data } });
}

/** Break the connection off without doing what was asked. @type {Trick} */
export function dropBefore(_, { peer }) {
  peer.abort();
}

/** Do what was asked, and break the connection off instead of answering. @type {Trick} */
export function dropAfter(server, call) {
  server.perform(call);
  call.peer.abort();
}

/** Never answer. @type {Trick} */
export function ignore() {}

/**
 * Close the connection.
 *
 * @param {number} code
 * @param {string} [reason]
 * @returns {Trick}
 */
export function close(code, reason) {
  return (_, { peer }) => peer.socket.close(code, reason);
}

/**
 * Answer when the promise is settled.
 *
 * @param {Promise<unknown>} promise
 * @returns {Trick}
 */
export function hold(promise) {
  return (server, call) => void promise.then(() => server.answer(call));
}

class Stored {
  /**
   * @param {number} seq
   * @param {string} epoch
   * @param {Event} event
   */
  constructor(seq, epoch, event) {
    this.seq = seq;
    this.event = event;
    this.cursor = `${epoch}.${seq}`;
    this.time = 1795449600000 + seq;
  }

  get wire() {
    return { cursor: this.cursor, time: this.time, event: this.event };
  }
}

/** One connection. */
export class Peer {
  /** @type {Map<number, any>} */
  subscriptions = new Map();
  numbers = 0;
  broken = false;

  /** @param {import("ws").WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
  }

  /** @param {any} message */
  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  /**
   * @param {string} method
   * @param {any} params
   */
  notify(method, params) {
    this.send({ jsonrpc: "2.0", method, params });
  }

  abort() {
    this.broken = true;
    this.socket.terminate();
  }
}

/**
 * @param {any} filter
 * @param {Event} event
 */
function matches(filter, event) {
  return Object.entries(filter).every(([key, value]) => [value].flat().includes(event[key]));
}

export class FakeServer {
  keys = ["user", "kind", "repo"];
  epoch = "e1";
  floor = 1;
  /** @type {Stored[]} */
  log = [];
  /** @type {Map<string, Stored>} */
  ids = new Map();
  /** @type {Call[]} */
  calls = [];
  /** @type {Set<Peer>} */
  peers = new Set();
  opened = 0;
  /** HTTP statuses to refuse the next handshakes with. @type {number[]} */
  refusals = [];
  /** @type {Set<string> | null} */
  tokens = null;
  mute = false;
  liveAtOnce = true;
  catchesUp = true;
  /** @type {Map<string, Trick[]>} */
  #tricks = new Map();
  /** @type {WebSocketServer | null} */
  #server = null;
  #port = 0;

  // Life.

  get url() {
    return `ws://127.0.0.1:${this.#port}/`;
  }

  async start() {
    this.#server = new WebSocketServer({
      host: "127.0.0.1",
      port: this.#port,
      verifyClient: (_info, done) => {
        const status = this.refusals.shift();
        done(status === undefined, status);
      },
    });
    this.#server.on("connection", (socket) => this.#serve(socket));
    await once(this.#server, "listening");
    const address = this.#server.address();
    this.#port = /** @type {import("node:net").AddressInfo} */ (address).port;
    return this;
  }

  /** @param {number} [code] */
  async stop(code = 1012) {
    if (this.#server === null) {
      return;
    }
    const server = this.#server;
    this.#server = null;
    this.peers.forEach((peer) => peer.socket.close(code));
    const closed = new Promise((resolve) => server.close(resolve));
    const late = setTimeout(() => server.clients.forEach((socket) => socket.terminate()), 50);
    await closed;
    clearTimeout(late);
  }

  /** @param {import("ws").WebSocket} socket */
  #serve(socket) {
    const peer = new Peer(socket);
    this.peers.add(peer);
    this.opened += 1;
    socket.on("error", () => {});
    socket.on("close", () => this.peers.delete(peer));
    socket.on("message", (data) => {
      if (!peer.broken) {
        this.#handle(peer, JSON.parse(data.toString()));
      }
    });
  }

  // Watching and telling.

  /**
   * Handle the next calls of a method by these tricks.
   *
   * @param {string} method
   * @param {...Trick} tricks
   */
  trick(method, ...tricks) {
    this.#tricks.set(method, [...(this.#tricks.get(method) ?? []), ...tricks]);
  }

  /** @param {string} method */
  called(method) {
    return this.calls.filter((call) => call.method === method);
  }

  get peer() {
    const [peer, ...others] = this.peers;
    if (peer === undefined || others.length > 0) {
      throw new Error(`${this.peers.size} connections, not one`);
    }
    return peer;
  }

  get events() {
    return this.log.map((stored) => stored.event);
  }

  // Doing.

  /**
   * @param {Peer} peer
   * @param {any} frame
   */
  #handle(peer, { id, method, params }) {
    const call = { peer, id, method, params };
    this.calls.push(call);
    if (this.mute) {
      return;
    }
    const trick = this.#tricks.get(method)?.shift();
    trick === undefined ? this.answer(call) : trick(this, call);
  }

  /** @param {Call} call */
  answer(call) {
    const { peer, id, method, params } = call;
    try {
      const result = this.perform(call);
      peer.send({ jsonrpc: "2.0", id, result });
      if (method === "subscribe" && this.catchesUp) {
        this.#catchUp(peer, result, params);
      }
    } catch (error) {
      if (!(error instanceof Fault)) {
        throw error;
      }
      peer.send({ jsonrpc: "2.0", id, error: error.error });
    }
  }

  /**
   * @param {Call} call
   * @returns {any}
   */
  perform({ peer, method, params }) {
    switch (method) {
      case "authenticate":
        return this.#authenticate(params);
      case "ping":
        return "pong";
      case "info":
        return this.#info();
      case "insert":
        return this.#insert(params.event, params.id);
      case "insert_many":
        return this.#insertMany(params);
      case "items":
        return this.#items(params);
      case "history":
        return this.#history(params);
      case "subscribe":
        return this.#subscribe(peer, params);
      case "unsubscribe":
        return this.#unsubscribe(peer, params);
      default:
        throw new Fault(-32601, "no such method");
    }
  }

  /**
   * Insert an event as some other client would.
   *
   * @param {Event} event
   * @param {string} [id]
   */
  push(event, id) {
    const stored = new Stored(this.log.length + 1, this.epoch, event);
    this.log.push(stored);
    if (id !== undefined) {
      this.ids.set(id, stored);
    }
    for (const peer of this.peers) {
      for (const [subscription, filter] of peer.subscriptions) {
        if (matches(filter, event)) {
          peer.notify("event", { subscription, ...stored.wire });
        }
      }
    }
    return stored;
  }

  get head() {
    return `${this.epoch}.${this.log.length}`;
  }

  /** Lose the log, as a server with an emptied store would. */
  newEpoch() {
    this.epoch = `e${Number(this.epoch.slice(1)) + 1}`;
    this.log = [];
    this.ids.clear();
  }

  /**
   * @param {any} filter
   * @param {number} [above]
   */
  #matching(filter, above = 0) {
    const unknown = Object.keys(filter).filter((key) => !this.keys.includes(key));
    if (unknown.length > 0) {
      throw new Fault(-32602, "unknown key", { unknown, keys: this.keys });
    }
    const lowest = Math.max(above + 1, this.floor);
    return this.log.filter(({ seq, event }) => seq >= lowest && matches(filter, event));
  }

  /** @param {any} params */
  #authenticate({ token }) {
    if (this.tokens === null) {
      throw new Fault(-32601, "no such method");
    }
    if (!this.tokens.has(token)) {
      throw new Fault(-32001, "the token is not valid");
    }
    return true;
  }

  #info() {
    const { epoch, head: cursor, keys } = this;
    return { server: "streamd", version: "0", epoch, cursor, keys, limits: { batch: 100 } };
  }

  /**
   * @param {Event} event
   * @param {string} [id]
   */
  #insert(event, id) {
    const known = id === undefined ? undefined : this.ids.get(id);
    const { cursor, time } = known ?? this.push(event, id);
    return { cursor, time, duplicate: known !== undefined };
  }

  /** @param {any} params */
  #insertMany({ events, ids }) {
    const entries = events.map((/** @type {Event} */ event, /** @type {number} */ index) =>
      this.#insert(event, ids[index]),
    );
    return { entries };
  }

  /** @param {any} params */
  #items({ filter, start, end }) {
    const found = this.#matching(filter).map(({ event }) => event);
    return found.reverse().slice(start, end);
  }

  /** @param {any} params */
  #history({ filter, limit, before = null }) {
    const top = before === null ? this.log.length + 1 : seqOf(before);
    const found = this.#matching(filter).filter(({ seq }) => seq < top);
    const page = found.reverse().slice(0, limit);
    return {
      entries: page.map(({ wire }) => wire),
      before: found.length > limit ? page.at(-1)?.cursor : null,
      cursor: `${this.epoch}.${top - 1}`,
    };
  }

  /**
   * @param {Peer} peer
   * @param {any} params
   */
  #subscribe(peer, { filter, backfill = 20, after = null }) {
    const found = this.#matching(filter);
    const reason = after === null ? null : this.#judge(after);
    const subscription = (peer.numbers += 1);
    peer.subscriptions.set(subscription, filter);
    const base = {
      subscription,
      entries: [],
      before: null,
      cursor: this.head,
      live: this.liveAtOnce,
    };
    if (after !== null && reason === null) {
      const cursor = after === "start" ? `${this.epoch}.${this.floor - 1}` : after;
      return { ...base, resumed: true, cursor };
    }
    const newest = backfill === 0 ? [] : found.slice(-backfill);
    const older = newest.length < found.length;
    return {
      ...base,
      entries: newest.map(({ wire }) => wire),
      before: older ? (newest[0]?.cursor ?? this.head) : null,
      ...(reason === null ? { resumed: null } : { resumed: false, reason }),
    };
  }

  /** @param {string} after */
  #judge(after) {
    if (after === "start") {
      return null;
    }
    const [epoch] = after.split(".");
    if (Number.isNaN(seqOf(after))) {
      throw new Fault(-32602, "not a cursor", { reason: "cursor" });
    }
    if (epoch !== this.epoch) {
      return "epoch";
    }
    return seqOf(after) < this.floor - 1 ? "expired" : null;
  }

  /**
   * @param {Peer} peer
   * @param {any} params
   */
  #unsubscribe(peer, { subscription }) {
    if (!peer.subscriptions.delete(subscription)) {
      throw new Fault(-32006, "unknown subscription");
    }
    return true;
  }

  /**
   * @param {Peer} peer
   * @param {any} answer
   * @param {any} params
   */
  #catchUp(peer, { subscription, resumed, cursor, live }, { filter }) {
    if (resumed) {
      for (const { wire } of this.#matching(filter, seqOf(cursor))) {
        peer.notify("event", { subscription, ...wire });
      }
    }
    if (!live) {
      peer.notify("progress", { cursor: this.head, subscription, live: true });
    }
  }
}

/** @param {string} cursor */
function seqOf(cursor) {
  return Number(cursor.split(".")[1]);
}
