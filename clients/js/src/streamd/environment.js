/** What the client needs from the place where it runs; a test hands in its own. */

const LONGEST = 2 ** 31 - 1; // milliseconds; a timer asked for more goes off at once

/**
 * @typedef {object} Environment
 * @property {() => number} clock a monotonic clock in milliseconds
 * @property {() => number} random returns a number from 0 to 1
 * @property {(run: () => void, milliseconds: number) => unknown} setTimeout returns a handle
 * @property {(handle: any) => void} clearTimeout
 * @property {(run: () => void) => void} soon runs after what else waits for its turn: input,
 *   painting, frames
 * @property {(error: unknown) => void} report tells the developer an error that nobody handles
 * @property {Page} page where wake-ups come from
 */

/**
 * What of a page's or a worker's global object is used; Node has none of it.
 *
 * @typedef {object} Page
 * @property {((type: string, listener: () => void) => void)} [addEventListener]
 * @property {((type: string, listener: () => void) => void)} [removeEventListener]
 * @property {PageDocument} [document]
 * @property {{href: string}} [location]
 *
 * @typedef {object} PageDocument
 * @property {string} visibilityState
 * @property {(type: string, listener: () => void) => void} addEventListener
 * @property {(type: string, listener: () => void) => void} removeEventListener
 */

/**
 * Return what a browser or Node has.
 *
 * @returns {Environment}
 */
export function here() {
  return {
    clock: () => performance.now(),
    random: Math.random,
    setTimeout: (run, milliseconds) => globalThis.setTimeout(run, Math.min(milliseconds, LONGEST)),
    clearTimeout: (handle) => globalThis.clearTimeout(handle),
    soon: afterOthers,
    report,
    page: globalThis,
  };
}

/**
 * Call back, and report what that throws, now or by a promise.
 *
 * @param {() => unknown} callback
 * @param {(error: unknown) => void} report
 */
export function tell(callback, report) {
  new Promise((resolve) => resolve(callback())).catch(report);
}

/**
 * By a message to ourselves: a timer would wait a second or a minute where the tab is hidden.
 *
 * @param {() => void} run
 */
function afterOthers(run) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    run();
  };
  port2.postMessage(null);
}

/** @param {unknown} error */
function report(error) {
  if (typeof reportError === "function") {
    reportError(error);
  } else {
    console.error(error); // Node has no reportError
  }
}
