/** The whole of an event: beside the list where there is room, else over it. */

import { copy, find, keepFocus } from "./dom.js";
import { makeChip } from "./row.js";
import { exactTime, isoTime, localTime, pretty } from "./text.js";

/** @typedef {import("./filter.js").Filter} Filter */
/** @typedef {import("./log.js").Entry} Entry */
/** @typedef {import("./row.js").Look} Look */

const NARROW = "(max-width: 760px)";
const TOLD = 2_000;
const NAMES = /^ *("(?:[^"\\]|\\.)*"):/gm;
const MOST_NAMES = 2_000;

/** The panel. */
export class Details {
  #dialog = find("details", HTMLDialogElement);
  #title = find("details-title", HTMLElement);
  #time = find("details-time", HTMLTimeElement);
  #cursor = find("details-cursor", HTMLElement);
  #chips = find("details-chips", HTMLElement);
  #json = find("details-json", HTMLElement);
  #copy = find("details-copy", HTMLButtonElement);
  #look;
  /** @type {Entry | null} */
  #entry = null;

  /**
   * @param {Look} look
   * @param {() => void} onClose
   */
  constructor(look, onClose) {
    this.#look = look;
    find("details-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    this.#copy.addEventListener("click", () => this.#copyEvent());
    this.#dialog.addEventListener("close", () => {
      this.#entry = null;
      onClose();
    });
  }

  /** Whether it is to be seen. */
  get open() {
    return this.#dialog.open;
  }

  /** Close it. */
  close() {
    this.#dialog.close();
  }

  /** The element with the chips, for clicks on them. */
  get chips() {
    return this.#chips;
  }

  /**
   * Show an entry.
   *
   * @param {Entry} entry
   */
  show(entry) {
    this.#entry = entry;
    this.#time.dateTime = isoTime(entry.time);
    this.#time.textContent = exactTime(entry.time);
    this.#time.title = localTime(entry.time);
    this.#cursor.textContent = entry.cursor;
    this.#json.textContent = pretty(entry.event);
    this.#json.scrollTop = 0;
    dimNames(this.#json);
    this.refresh();
    this.#open();
  }

  /** Mark anew which values are looked for. */
  refresh() {
    const terms = this.#entry ? this.#look.terms(this.#entry.event) : [];
    keepFocus(this.#chips, () =>
      this.#chips.replaceChildren(...terms.map((term) => makeChip(term, this.#look.filter))),
    );
    this.#chips.hidden = !terms.length;
  }

  #open() {
    if (this.#dialog.open) return;
    if (matchMedia(NARROW).matches) this.#dialog.showModal();
    else this.#dialog.show();
    this.#title.focus();
  }

  async #copyEvent() {
    const done = await copy(this.#json.textContent ?? "", this.#json);
    this.#copy.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (this.#copy.textContent = "Copy JSON"), TOLD);
  }
}

/**
 * Let the names in JSON stand back behind the values, without an element for each.
 *
 * @param {HTMLElement} json its only child is a text
 */
function dimNames(json) {
  const text = json.firstChild;
  if (!(text instanceof Text) || !("highlights" in CSS)) return;
  const names = new Highlight();
  for (const { 0: whole, 1: name, index } of text.data.matchAll(NAMES)) {
    if (names.size === MOST_NAMES) break;
    const start = index + whole.length - 1 - name.length;
    const range = new Range();
    range.setStart(text, start);
    range.setEnd(text, start + name.length);
    names.add(range);
  }
  CSS.highlights.set("names", names);
}
