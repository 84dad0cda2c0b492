/** One line of the list: an entry in a few words. Rows are few, and are filled again and again. */

import { make, makeButton, setText } from "./dom.js";
import { ago, brief, counted, exactTime, isoTime, localTime, pathsOf, summary } from "./text.js";
import { hueOf, textsOf } from "./values.js";

/** @typedef {import("./filter.js").Filter} Filter */
/** @typedef {import("./log.js").Item} Item */
/** @typedef {import("./text.js").Paths} Paths */
/** @typedef {import("./values.js").Key} Key */
/** @typedef {import("./values.js").Term} Term */

const CHIPS = 8;
const CHIP_LENGTH = 48;
const TITLE_LENGTH = 600;
const SUMMARY_LENGTH = 260;

/** How rows show events: what is read from them, and what is looked for. */
export class Look {
  /** @type {Key | null} the key that says what kind of event it is */
  kind = null;
  /** @type {Key[]} */
  others = [];
  /** @type {Paths} */
  shown = new Map();
  /** @type {Filter} */
  filter;

  /** @param {Filter} filter */
  constructor(filter) {
    this.filter = filter;
  }

  /** @param {readonly Key[]} keys */
  setKeys(keys) {
    this.kind = keys.find(({ name }) => name === "kind") ?? null;
    this.others = keys.filter((key) => key !== this.kind);
    this.shown = pathsOf(keys);
  }

  /**
   * Return the terms of an event, those of its kind first.
   *
   * @param {unknown} event
   * @returns {Term[]}
   */
  terms(event) {
    const keys = this.kind ? [this.kind, ...this.others] : this.others;
    return keys.flatMap((key) => textsOf(event, key).map((text) => ({ key: key.name, text })));
  }
}

/** @type {WeakMap<Element, Term>} */
const termsOfChips = new WeakMap();

/**
 * Make the button that adds a term to the filter, or takes it out.
 *
 * @param {Term} term
 * @param {Filter} filter
 */
export function makeChip(term, filter) {
  const { key, text } = term;
  const kind = key === "kind";
  const shown = brief(text, CHIP_LENGTH) || "(empty)";
  const chip = makeButton(kind ? "chip kind" : "chip", "");
  if (kind) chip.style.setProperty("--hue", String(hueOf(text)));
  else chip.append(make("span", "key", key), " ");
  chip.append(make("bdi", "value", shown));
  const wanted = filter.has(key, text);
  chip.setAttribute("aria-pressed", String(wanted));
  const offer = wanted ? "Remove from the filter" : "Add to the filter";
  chip.title = `${key}: ${brief(text, TITLE_LENGTH)}\n${offer}`;
  termsOfChips.set(chip, term);
  return chip;
}

/**
 * Return the term of the chip that was clicked, undefined when it was none.
 *
 * @param {EventTarget | null} target
 */
export function clickedTerm(target) {
  const chip = target instanceof Element ? target.closest(".chip") : null;
  return chip ? termsOfChips.get(chip) : undefined;
}

/** A row. */
export class Row {
  /** The number of the item that it shows. */
  number = -1;
  /** @type {Item | null} */
  item = null;

  element = make("article", "row");
  #time = make("time");
  #chips = make("span", "chips");
  #summary = make("span", "summary");
  #more = makeButton("more", "Whole event", "›");
  /** @type {Animation | null} */
  #flash = null;

  constructor() {
    this.element.tabIndex = -1;
    this.#more.tabIndex = -1;
    this.element.append(this.#time, this.#chips, this.#summary, this.#more);
  }

  /**
   * Show an item.
   *
   * @param {number} number
   * @param {Item} item
   * @param {Look} look
   * @param {number} now milliseconds since 1970, by the server's clock
   */
  fill(number, item, look, now) {
    this.number = number;
    this.item = item;
    this.#flash?.cancel();
    this.element.classList.toggle("gap", !item.entry);
    this.#time.hidden = this.#chips.hidden = this.#more.hidden = !item.entry;
    if (item.entry) this.#fillEntry(item.entry, look, now);
    else this.#fillGap(item.gap);
  }

  /**
   * Show how long ago it is now.
   *
   * @param {number} now milliseconds since 1970, by the server's clock
   */
  tick(now) {
    if (this.item?.entry) setText(this.#time, ago(now - this.item.entry.time));
  }

  /** Draw the eye for a moment, unless it wants rest. */
  flash() {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.#flash = this.element.animate([{ backgroundColor: "var(--fresh)" }, {}], 1_200);
  }

  /**
   * Say which of how many it is, the newest being the first.
   *
   * @param {number} place counted from 1
   * @param {number} size of all, or -1 when there are older ones that are not here
   */
  place(place, size) {
    this.element.ariaPosInSet = String(place);
    this.element.ariaSetSize = String(size);
  }

  /**
   * Let the row, and what is in it, be reached with the Tab key, or not.
   *
   * @param {boolean} active
   */
  activate(active) {
    const index = active ? 0 : -1;
    if (this.element.tabIndex === index) return;
    this.element.tabIndex = index;
    for (const button of this.element.getElementsByTagName("button")) button.tabIndex = index;
  }

  /**
   * @param {import("./log.js").Entry} entry
   * @param {Look} look
   * @param {number} now
   */
  #fillEntry(entry, look, now) {
    this.tick(now);
    this.#time.dateTime = isoTime(entry.time);
    this.#time.title = `${localTime(entry.time)}\n${exactTime(entry.time)}`;
    const terms = look.terms(entry.event);
    this.#fillChips(terms, look);
    this.#fillSummary(summary(entry.event, look.shown, SUMMARY_LENGTH));
    const names = terms
      .slice(0, CHIPS)
      .map(({ key, text }) => `${key} ${brief(text, CHIP_LENGTH)}`);
    this.element.ariaLabel = `${names.join(", ") || "event"}, ${ago(now - entry.time)}`;
  }

  /**
   * @param {Term[]} terms
   * @param {Look} look
   */
  #fillChips(terms, look) {
    const chips = terms.slice(0, CHIPS).map((term) => makeChip(term, look.filter));
    const index = this.element.tabIndex;
    for (const chip of chips) chip.tabIndex = index;
    this.#chips.replaceChildren(...chips);
    if (terms.length <= CHIPS) return;
    const rest = make("span", "rest", `+${terms.length - CHIPS}`);
    rest.title = counted(terms.length - CHIPS, "more value", "more values");
    this.#chips.append(rest);
  }

  /** @param {[string, string][]} pairs */
  #fillSummary(pairs) {
    this.#summary.replaceChildren(
      ...pairs.flatMap(([name, text]) => [
        make("bdi", "name", name),
        " ",
        make("bdi", "", text),
        " ",
      ]),
    );
  }

  /** @param {string} sentence */
  #fillGap(sentence) {
    const text = `entries may be missing here: ${brief(sentence, SUMMARY_LENGTH)}`;
    this.#summary.replaceChildren(text);
    this.element.ariaLabel = text;
  }
}
