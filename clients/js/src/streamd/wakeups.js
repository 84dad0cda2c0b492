/**
 * When a page or a worker tells that a connection may be gone, or may be made again.
 *
 * @import { Page } from "./environment.js"
 */

/** Calls `wake` when the network is back and when the tab is seen again; in Node never. */
export class Wakeups {
  #page;
  #wake;

  /**
   * @param {Page} page
   * @param {() => void} wake
   */
  constructor(page, wake) {
    this.#page = page;
    this.#wake = wake;
  }

  /** Begin to listen. */
  start() {
    this.#page.addEventListener?.("online", this.#wake);
    this.#page.document?.addEventListener("visibilitychange", this.#seen);
  }

  /** Listen no more. Idempotent. */
  stop() {
    this.#page.removeEventListener?.("online", this.#wake);
    this.#page.document?.removeEventListener("visibilitychange", this.#seen);
  }

  #seen = () => {
    if (this.#page.document?.visibilityState === "visible") {
      this.#wake();
    }
  };
}
