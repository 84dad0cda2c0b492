/** The form for a token, where the server lets nobody in without one. It is kept in memory only. */

import { find } from "./dom.js";
import { brief } from "./text.js";

const TOKEN_REFUSED = 4501;
const NO_TOKEN_IN_TIME = 4508;
const UNAUTHORIZED = -32001;

/**
 * Whether an error says that a token is missing or no longer taken.
 *
 * @param {unknown} error
 */
export function asksForToken(error) {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return code === TOKEN_REFUSED || code === NO_TOKEN_IN_TIME || code === UNAUTHORIZED;
}

/** The form. */
export class TokenForm {
  #dialog = find("token", HTMLDialogElement);
  #text = find("token-text", HTMLInputElement);
  #error = find("token-error", HTMLElement);

  /** @param {(token: string) => void} onToken called with what was written */
  constructor(onToken) {
    find("token-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.#text.value.trim();
      this.#text.value = "";
      if (!token) return;
      this.#dialog.close();
      onToken(token);
    });
  }

  /**
   * Ask for a token.
   *
   * @param {Error} error what the server said
   */
  ask(error) {
    this.#error.textContent = brief(error.message, 300);
    if (!this.#dialog.open) this.#dialog.showModal();
  }
}
