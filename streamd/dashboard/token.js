/** The form for a token, where the server lets nobody in without one. It is kept in memory only. */

import { find } from "./dom.js";
import { brief } from "./text.js";

const TOKEN_REFUSED = 4501;
const NO_TOKEN_IN_TIME = 4508;
const UNAUTHORIZED = -32001;
const FORBIDDEN = -32002;
const WHAT_FOR = "What may be read and written is up to it.";

/**
 * Whether an error says that a token is missing or no longer taken.
 *
 * @param {unknown} error
 */
export function asksForToken(error) {
  return [TOKEN_REFUSED, NO_TOKEN_IN_TIME, UNAUTHORIZED].includes(codeOf(error));
}

/**
 * Whether an error says that a token, or another, may do more.
 *
 * @param {unknown} error
 */
export function isForbidden(error) {
  return codeOf(error) === FORBIDDEN || asksForToken(error);
}

/** @param {unknown} error */
function codeOf(error) {
  return error instanceof Error && "code" in error ? Number(error.code) : NaN;
}

/** The form. */
export class TokenForm {
  #dialog = find("token", HTMLDialogElement);
  #text = find("token-text", HTMLInputElement);
  #why = find("token-why", HTMLElement);
  #button = find("token-open", HTMLButtonElement);

  /** @param {(token: string) => void} onToken called with what was written */
  constructor(onToken) {
    this.#button.addEventListener("click", () => this.ask(WHAT_FOR));
    find("token-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => (this.#text.value = ""));
    find("token-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.#text.value.trim();
      if (!token) return;
      this.#dialog.close();
      onToken(token);
    });
  }

  /**
   * Let the reader give one unasked, or not.
   *
   * @param {boolean} useful whether it may make a difference
   */
  offer(useful) {
    this.#button.hidden = !useful;
  }

  /**
   * Ask for a token.
   *
   * @param {string} why
   * @param {{refused?: boolean}} [options] whether it says what was wrong with the last one
   */
  ask(why, { refused = false } = {}) {
    this.#why.textContent = brief(why, 300);
    this.#why.classList.toggle("bad", refused);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#text.focus();
  }
}
