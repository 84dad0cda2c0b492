/**
 * The errors of the client, one tree:
 *
 *     StreamdError
 *     ├── RpcError(code, message, data)      the server answered with an error
 *     │   ├── ParseError                     −32700
 *     │   ├── InvalidRequest                 −32600
 *     │   ├── MethodNotFound                 −32601
 *     │   ├── InvalidParams                  −32602
 *     │   ├── InternalError                  −32603
 *     │   ├── Unauthorized                   −32001
 *     │   ├── Forbidden                      −32002
 *     │   ├── LimitExceeded                  −32004
 *     │   ├── RateLimited                    −32005  retried until the deadline
 *     │   ├── UnknownSubscription            −32006
 *     │   ├── PlaceLost                      −32007  entries were missed
 *     │   ├── UnknownOutcome                 −32010  retried until the deadline
 *     │   └── StoreUnavailable               −32011  retried until the deadline
 *     ├── CallTimeout                        no answer by the deadline
 *     ├── ConnectionLost                     passing trouble; seen as the cause of a CallTimeout
 *     │   └── Unreachable                    no connection could be opened, nothing was sent
 *     ├── ProtocolError                      the server sent what the protocol does not know
 *     └── ClientStopped                      nothing more comes from this client
 *         ├── ClientClosed                   close() was called
 *         └── ConnectionRejected             a close code that says "do not come back"
 *
 * Any other code is a plain RpcError. The Python client's tree has two more, for HTTP statuses:
 * a WebSocket of a browser does not tell them.
 */

/** Every error that this package throws on purpose. */
export class StreamdError extends Error {}

// The server answered with an error.

/** The server answered a call with an error; `message` is its sentence. */
export class RpcError extends StreamdError {
  /**
   * @param {number} code
   * @param {string} message
   * @param {unknown} [data]
   */
  constructor(code, message, data = null) {
    super(message);
    /** The JSON-RPC error code. */
    this.code = code;
    /** What a program needs to know, by code; often an object, else null. */
    this.data = data;
  }

  /** Whether the client repeats the call by itself until its deadline. */
  get retryable() {
    return false;
  }

  /** Milliseconds the server asks to wait before the call is repeated; null if it does not. */
  get retryAfter() {
    const milliseconds = detail(this.data, "retry_after_ms");
    return typeof milliseconds === "number" ? Math.max(0, milliseconds) : null;
  }
}

/** What was sent is not JSON. */
export class ParseError extends RpcError {}

/** What was sent is JSON and not a call. */
export class InvalidRequest extends RpcError {}

/** The server has no such method on this transport. */
export class MethodNotFound extends RpcError {}

/** An argument is missing, unknown or of a kind the method does not take. */
export class InvalidParams extends RpcError {
  /** `id_reused`, `epoch` or `cursor`, where the server says so; else null. */
  get reason() {
    return reasonOf(this.data);
  }
}

/** The server failed. */
export class InternalError extends RpcError {}

/** The call needs a token, or the token is not valid. */
export class Unauthorized extends RpcError {}

/** The token does not allow this. */
export class Forbidden extends RpcError {}

/** A limit of the server was passed. */
export class LimitExceeded extends RpcError {
  /** The limit's name, as in the `limits` of `info()`; null if the server did not say. */
  get limit() {
    const name = detail(this.data, "limit");
    return typeof name === "string" ? name : null;
  }

  /** The most that is allowed; null if the server did not say. */
  get max() {
    const value = detail(this.data, "max");
    return typeof value === "number" ? value : null;
  }

  /** What was given; null if the server did not say. */
  get got() {
    const value = detail(this.data, "got");
    return typeof value === "number" ? value : null;
  }
}

/** Too much was asked for in too short a time. */
export class RateLimited extends RpcError {
  /** @override */
  get retryable() {
    return true;
  }
}

/** This connection has no subscription of that number. */
export class UnknownSubscription extends RpcError {}

/**
 * A feed's place in the log is gone: entries may have been missed.
 *
 * The feed goes on with the newest entries (`backfill` of them) and everything after.
 */
export class PlaceLost extends RpcError {
  /**
   * @param {number} code
   * @param {string} message
   * @param {unknown} [data]
   * @param {string | null} [cursor]
   */
  constructor(code, message, data = null, cursor = null) {
    super(code, message, data);
    /** The place that was lost; null when nothing had been received. */
    this.cursor = cursor;
  }

  /**
   * `expired`: the entries are no longer retained; `epoch`: the log was replaced; `cursor`: what was
   * stored is no cursor of this server.
   */
  get reason() {
    return reasonOf(this.data);
  }
}

/** It is not known whether the events were stored; repeating with the same id is safe. */
export class UnknownOutcome extends RpcError {
  /** @override */
  get retryable() {
    return true;
  }
}

/** The server cannot reach its store. */
export class StoreUnavailable extends RpcError {
  /** @override */
  get retryable() {
    return true;
  }
}

/** @type {ReadonlyMap<number, typeof RpcError>} */
export const BY_CODE = new Map([
  [-32700, ParseError],
  [-32600, InvalidRequest],
  [-32601, MethodNotFound],
  [-32602, InvalidParams],
  [-32603, InternalError],
  [-32001, Unauthorized],
  [-32002, Forbidden],
  [-32004, LimitExceeded],
  [-32005, RateLimited],
  [-32006, UnknownSubscription],
  [-32007, PlaceLost],
  [-32010, UnknownOutcome],
  [-32011, StoreUnavailable],
]);

/**
 * Return the error that belongs to `code`; a plain `RpcError` when the code is not known.
 *
 * @param {number} code
 * @param {string} message
 * @param {unknown} [data]
 * @returns {RpcError}
 */
export function rpcError(code, message, data = null) {
  return new (BY_CODE.get(code) ?? RpcError)(code, message, data);
}

/**
 * Return a member of an error's `data`, which may be anything.
 *
 * @param {unknown} data
 * @param {string} name
 * @returns {unknown}
 */
function detail(data, name) {
  return typeof data === "object" && data !== null && Object.hasOwn(data, name)
    ? /** @type {Record<string, unknown>} */ (data)[name]
    : null;
}

/** @param {unknown} data */
function reasonOf(data) {
  const reason = detail(data, "reason");
  return typeof reason === "string" ? reason : null;
}

// The server did not answer.

/**
 * No answer came by the call's deadline; the outcome of an insert is unknown then.
 *
 * Only where the `cause` is `Unreachable` it is known: no attempt was sent, nothing was stored.
 */
export class CallTimeout extends StreamdError {
  /**
   * @param {string} method
   * @param {number} timeout
   * @param {StreamdError | null} [cause]
   */
  constructor(method, timeout, cause = null) {
    const trouble = cause === null ? "" : `: ${cause.message}`;
    super(
      `${method} was not answered within ${timeout} ms${trouble}`,
      cause === null ? undefined : { cause },
    );
    /** The method that was called. */
    this.method = method;
    /** The milliseconds it had. */
    this.timeout = timeout;
  }
}

/** The connection ended or could not be opened; the client comes back by itself. */
export class ConnectionLost extends StreamdError {
  /**
   * @param {string} reason
   * @param {{code?: number | null, cause?: unknown}} [details]
   */
  constructor(reason, { code = null, cause } = {}) {
    super(new.target.sentence(reason, code), cause === undefined ? undefined : { cause });
    /** What happened, as a sentence. */
    this.reason = reason;
    /** The close code; null when no connection was open, or it broke off without one. */
    this.code = code;
  }

  /**
   * @protected
   * @param {string} reason
   * @param {number | null} code
   */
  static sentence(reason, code) {
    return `the connection was lost${code === null ? "" : ` (close code ${code})`}: ${reason}`;
  }
}

/** No connection could be opened: nothing was sent. */
export class Unreachable extends ConnectionLost {
  /**
   * @protected
   * @override
   * @param {string} reason
   */
  static sentence(reason) {
    return `the server could not be reached: ${reason}`;
  }
}

/** The server sent what the protocol does not know; a frame of that kind stops the client. */
export class ProtocolError extends StreamdError {}

// Nothing more will come.

/** The client has ended for good; the subclass says why. */
export class ClientStopped extends StreamdError {}

/** The client was closed by its owner. */
export class ClientClosed extends ClientStopped {
  constructor() {
    super("the client is closed");
  }
}

/** The connection was closed with a code that says "do not come back". */
export class ConnectionRejected extends ClientStopped {
  /**
   * @param {number} code
   * @param {string} [reason]
   */
  constructor(code, reason = "") {
    const said = reason === "" ? "" : `: ${reason}`;
    super(`the connection was closed for good with code ${code}${said}`);
    /** The close code. */
    this.code = code;
    /** The reason in the close frame, may be empty. */
    this.reason = reason;
  }
}

// The names are texts of their own, so that a minifier does not change them.
const NAMED = {
  StreamdError,
  RpcError,
  ParseError,
  InvalidRequest,
  MethodNotFound,
  InvalidParams,
  InternalError,
  Unauthorized,
  Forbidden,
  LimitExceeded,
  RateLimited,
  UnknownSubscription,
  PlaceLost,
  UnknownOutcome,
  StoreUnavailable,
  CallTimeout,
  ConnectionLost,
  Unreachable,
  ProtocolError,
  ClientStopped,
  ClientClosed,
  ConnectionRejected,
};
for (const [name, kind] of Object.entries(NAMED)) {
  Object.defineProperty(kind.prototype, "name", { value: name, configurable: true });
}
