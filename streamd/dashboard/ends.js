/** What is said above, below and in place of the list. */

import { find, setText } from "./dom.js";
import { brief, count } from "./text.js";
import { isForbidden } from "./token.js";

/** @typedef {import("./filter.js").Filter} Filter */
/** @typedef {import("./log.js").Log} Log */
/** @typedef {import("./stream.js").Stream} Stream */

/**
 * @typedef {object} EndsOptions
 * @property {() => void} onNewest called when the reader wants to see the newest entries
 * @property {() => void} onRetry called when the next older page is to be asked for again
 * @property {() => void} onInsert
 * @property {() => void} onClear called when the filter is to be taken away
 */

/** The ends of the list. */
export class Ends {
  #feed = find("feed", HTMLElement);
  #newestBox = find("newest-box", HTMLElement);
  #newest = find("newest", HTMLButtonElement);
  #tail = find("tail-text", HTMLElement);
  #retry = find("tail-retry", HTMLButtonElement);
  #empty = find("empty", HTMLElement);
  #title = find("empty-title", HTMLElement);
  #text = find("empty-text", HTMLElement);
  #insert = find("empty-insert", HTMLButtonElement);
  #clear = find("empty-clear", HTMLButtonElement);

  /** @param {EndsOptions} options */
  constructor({ onNewest, onRetry, onInsert, onClear }) {
    this.#newest.addEventListener("click", onNewest);
    this.#retry.addEventListener("click", onRetry);
    this.#insert.addEventListener("click", onInsert);
    this.#clear.addEventListener("click", onClear);
  }

  /**
   * Show how it stands.
   *
   * @param {Log} log
   * @param {Stream} stream
   * @param {Filter} filter
   * @param {object} how
   * @param {boolean} how.isScrolled whether the newest entry is out of sight
   * @param {boolean} how.isOver whether nothing more comes
   */
  paint(log, stream, filter, { isScrolled, isOver }) {
    this.#newestBox.hidden = !log.held || !(log.fresh || isScrolled);
    setText(this.#newest, log.fresh ? `${count(log.fresh)} new` : "Newest");
    this.#feed.ariaBusy = String(stream.state === "loading" || stream.older === "loading");
    // A feed is one of articles.
    this.#feed.role = log.size ? "feed" : "group";
    this.#retry.hidden = stream.older !== "failed";
    setText(this.#tail, isOver ? "" : tailText(log, stream));
    this.#paintEmpty(log, stream, filter, isOver);
  }

  /**
   * @param {Log} log
   * @param {Stream} stream
   * @param {Filter} filter
   * @param {boolean} isOver
   */
  #paintEmpty(log, stream, filter, isOver) {
    const isEmpty = !log.size && !log.waiting && log.before === null;
    const { state, error } = stream;
    this.#empty.hidden = !isEmpty || isOver || state === "loading";
    if (this.#empty.hidden) return;
    const [title, text] = emptyTexts(filter.size > 0, error);
    setText(this.#title, title);
    setText(this.#text, text);
    this.#insert.hidden = error !== null;
    this.#clear.hidden = !filter.size;
  }
}

/**
 * @param {Log} log
 * @param {Stream} stream
 */
function tailText(log, { state, older, olderError }) {
  if (state === "loading") return "loading…";
  if (older === "gone") return "what is older was in the log before this one, and is gone";
  if (older === "failed") return brief(olderError?.message ?? "", 200);
  if (state === "failed") return "";
  if (log.before !== null) return "loading…";
  return log.size ? "the beginning" : "";
}

/**
 * @param {boolean} isFiltered
 * @param {Error | null} refusal
 */
function emptyTexts(isFiltered, refusal) {
  if (isForbidden(refusal)) return ["Nothing may be read", "Give another token, by Token above."];
  if (refusal) return ["Nothing to show", "The server says why above: look for something else."];
  const text = "What is inserted from now on appears here at once.";
  return [isFiltered ? "No entry matches" : "No entries yet", text];
}
