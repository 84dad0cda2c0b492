/** Where the connection stands, in a word or two. */

import { find, setText } from "./dom.js";
import { brief } from "./text.js";

/** @typedef {"connecting" | "connected" | "waiting" | "stopped"} ClientState */

const TITLES = {
  live: "Connected: what is inserted comes at once",
  paused: "Connected: what comes waits until you resume",
  connecting: "Connected: what is there already is being fetched",
  waiting: "",
  stopped: "",
};

/**
 * @typedef {object} Situation
 * @property {ClientState} client
 * @property {string | null} feed where the feed stands, null before there is one
 * @property {boolean} paused whether the list is to stand still
 * @property {number | null} retryAt when the client tries again, in milliseconds since 1970
 * @property {boolean} asked whether the client stopped for want of a token that is taken
 * @property {string} trouble the last passing trouble, or why the client stopped
 */

/**
 * Return where the connection stands.
 *
 * @param {Situation} situation
 * @param {number} now milliseconds since 1970
 * @returns {{state: "live" | "paused" | "connecting" | "waiting" | "stopped", text: string}}
 */
export function standing({ client, feed, paused, retryAt }, now) {
  if (client === "stopped") return { state: "stopped", text: "Disconnected" };
  if (client === "waiting") {
    const seconds = Math.ceil(((retryAt ?? now) - now) / 1000);
    const text = seconds > 0 ? `Trying again in ${seconds} s` : "Trying again…";
    return { state: "waiting", text };
  }
  if (client === "connecting") return { state: "connecting", text: "Connecting…" };
  if (paused) return { state: "paused", text: "Paused" };
  if (feed === "catching up" || feed === "paused") {
    return { state: "connecting", text: "Catching up…" };
  }
  if (feed === "live") return { state: "live", text: "Live" };
  return { state: "connecting", text: feed === null ? "Connected" : "Loading…" };
}

/** The word beside the name of the page. */
export class Status {
  #element = find("state", HTMLElement);
  #text = find("state-text", HTMLElement);
  #banner = find("banner", HTMLElement);
  #reason = find("banner-text", HTMLElement);
  #onSay;
  #connect = find("banner-connect", HTMLButtonElement);
  #tryNow = find("try-now", HTMLButtonElement);
  #last = "";

  /**
   * @param {object} options
   * @param {(text: string) => void} options.onSay called when those who listen should know
   * @param {() => void} options.onConnect called when a stopped client is to be replaced
   * @param {() => void} options.onTry called when the next attempt is not to wait
   */
  constructor({ onSay, onConnect, onTry }) {
    this.#onSay = onSay;
    this.#connect.addEventListener("click", onConnect);
    this.#tryNow.addEventListener("click", onTry);
  }

  /**
   * Show a situation.
   *
   * @param {Situation} situation
   * @param {number} now milliseconds since 1970
   */
  paint(situation, now) {
    const { state, text } = standing(situation, now);
    this.#element.dataset.state = state;
    const isConnected = situation.client === "connected";
    this.#element.title = isConnected ? TITLES[state] : brief(situation.trouble, 300);
    setText(this.#text, text);
    this.#tryNow.hidden = state !== "waiting";
    this.#banner.hidden = state !== "stopped";
    setText(this.#connect, situation.asked ? "Give a token" : "Connect again");
    setText(this.#reason, state === "stopped" ? brief(situation.trouble, 300) : "");
    if (state !== this.#last && state !== "connecting") this.#tell(state);
  }

  /** @param {string} state */
  #tell(state) {
    // Nobody needs to hear that all is well from the start.
    const back = this.#last === "waiting" || this.#last === "stopped";
    this.#last = state;
    if (state === "waiting") this.#onSay("The connection is lost; trying again until it is back");
    else if (state === "stopped") this.#onSay("Disconnected");
    else if (back) this.#onSay("Connected again");
  }
}
