/** The filter as one sees and changes it. */

import { find, keepFocus, make, makeButton } from "./dom.js";
import { Filter, splitValues } from "./filter.js";
import { brief, count } from "./text.js";

const SHOWN = 12;
const MOST = 500;

/** The bar: what is looked for, and a line to add to it. */
export class FilterBar {
  #form = find("filter-form", HTMLFormElement);
  #key = find("filter-key", HTMLSelectElement);
  #values = find("filter-values", HTMLInputElement);
  #groups = find("filter-groups", HTMLElement);
  #error = find("filter-error", HTMLElement);
  #onChange;
  /** @type {Filter} */
  #filter;
  /** @type {readonly string[]} */
  #names = [];
  /** Keys whose values are all to be seen. @type {Set<string>} */
  #open = new Set();

  /**
   * @param {Filter} filter
   * @param {(filter: Filter) => void} onChange called with the filter that was asked for
   */
  constructor(filter, onChange) {
    this.#filter = filter;
    this.#onChange = onChange;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#add();
    });
    this.#values.addEventListener("paste", (event) => this.#paste(event));
    this.#values.addEventListener("input", () => this.#chooseKey());
    this.show(filter);
  }

  /** @param {readonly string[]} names of the keys */
  setKeys(names) {
    if (names.join() === this.#names.join()) return;
    this.#names = names;
    this.#key.replaceChildren(...names.map((name) => new Option(name)));
  }

  /** Let the reader write. */
  focus() {
    this.#values.focus();
    this.#values.select();
  }

  /**
   * Show a filter.
   *
   * @param {Filter} filter
   */
  show(filter) {
    this.#filter = filter;
    const groups = filter.groups.map(([key, texts]) => this.#group(key, texts));
    const parts = groups.flatMap((group, at) => (at ? [and(), group] : [group]));
    if (groups.length) parts.push(this.#clearing());
    this.#groups.hidden = !groups.length;
    keepFocus(this.#groups, () => this.#groups.replaceChildren(...parts), this.#values);
  }

  /**
   * Say what is wrong with the filter, null for nothing.
   *
   * @param {string | null} sentence
   */
  complain(sentence) {
    this.#error.hidden = sentence === null;
    this.#error.textContent = sentence === null ? "" : brief(sentence, 400);
  }

  // What is looked for.

  /**
   * @param {string} key
   * @param {string[]} texts
   */
  #group(key, texts) {
    const length = this.#open.has(key) ? MOST : SHOWN;
    const group = make("span", "group");
    group.append(make("span", "key", brief(key, 64)), make("span", "dim", "is"));
    for (const text of texts.slice(0, length)) {
      if (group.childElementCount > 2 && length === SHOWN) group.append(make("span", "dim", "or"));
      group.append(this.#removal(key, text));
    }
    if (texts.length > length) group.append(this.#rest(key, texts.length - length));
    return group;
  }

  /**
   * @param {string} key
   * @param {string} text
   */
  #removal(key, text) {
    const shown = brief(text, 48) || "(empty)";
    const button = makeButton("wanted", `Remove ${key} ${shown}`);
    button.append(make("bdi", "", shown), make("span", "cross", "×"));
    button.addEventListener("click", () => this.#onChange(this.#filter.without(key, text)));
    return button;
  }

  /**
   * @param {string} key
   * @param {number} more
   */
  #rest(key, more) {
    const text = `+${count(more)} more`;
    if (this.#open.has(key)) return make("span", "dim", text);
    const button = makeButton("quiet", "", text);
    button.addEventListener("click", () => {
      this.#open.add(key);
      this.show(this.#filter);
    });
    return button;
  }

  #clearing() {
    const button = makeButton("quiet", "", "Clear");
    button.title = "Look for everything";
    button.addEventListener("click", () => {
      this.#onChange(new Filter());
    });
    return button;
  }

  // What is added.

  #add() {
    this.#addText(this.#values.value);
  }

  /** @param {string} text */
  #addText(text) {
    const words = splitValues(text, this.#names);
    if (!words.length) return;
    const filter = words.reduce(
      (wider, word) => wider.with(word.key ?? this.#key.value, [word.text]),
      this.#filter,
    );
    this.#values.value = "";
    this.#onChange(filter);
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    // An input would join the lines of a list to one word.
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!/[\r\n]/.test(text.trim())) return;
    event.preventDefault();
    this.#addText(`${this.#values.value} ${text}`);
  }

  /** Take `kind=` for the choice of a key as soon as it is written. */
  #chooseKey() {
    const [, name, rest] = /^\s*([A-Za-z_][\w-]*)=(.*)$/s.exec(this.#values.value) ?? [];
    if (!this.#names.includes(name)) return;
    this.#key.value = name;
    this.#values.value = rest;
  }
}

function and() {
  return make("span", "dim", "and");
}
