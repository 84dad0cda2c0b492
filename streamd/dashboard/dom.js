/** Small things that every view needs. */

/**
 * Return the page's element of an id; throw when it has none of this class.
 *
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function find(id, type) {
  const element = document.getElementById(id);
  if (element instanceof type) return element;
  throw new TypeError(`the page has no ${type.name} with the id ${id}`);
}

/**
 * Make an element with a class and what is in it; texts become texts and nothing else.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} [className]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/**
 * Make a button.
 *
 * @param {string} className
 * @param {string} label what it is called
 * @param {...(Node | string)} children
 */
export function makeButton(className, label, ...children) {
  const button = make("button", className, ...children);
  button.type = "button";
  if (label) button.setAttribute("aria-label", label);
  return button;
}

/**
 * Set an element's text, unless it is that already: most ticks change nothing.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Change what is in an element; if one of its buttons had the focus, the button in its place has
 * it after that, or the last one, or else another element.
 *
 * @param {Element} element
 * @param {() => void} change
 * @param {HTMLElement} [otherwise]
 */
export function keepFocus(element, change, otherwise) {
  const place = [...element.querySelectorAll("button")].findIndex(
    (button) => button === document.activeElement,
  );
  change();
  if (place < 0) return;
  const buttons = element.querySelectorAll("button");
  (buttons[place] ?? buttons[buttons.length - 1] ?? otherwise)?.focus();
}

/** Paints once in a frame, however often it is asked to; a hidden page is not painted. */
export class Painter {
  #paint;
  #asked = false;

  /** @param {() => void} paint */
  constructor(paint) {
    this.#paint = paint;
  }

  /** Ask for a frame. */
  request() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#paint();
    });
  }
}

/** Tells those who listen to the page, every few seconds at most; the last word counts. */
export class Announcer {
  #element;
  #waiting = "";
  /** @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;

  /**
   * @param {Element} element a live region
   * @param {number} [pause] milliseconds
   */
  constructor(element, pause = 4_000) {
    this.#element = element;
    this.pause = pause;
  }

  /**
   * Say something, or soon.
   *
   * @param {string} text
   */
  say(text) {
    this.#waiting = text;
    if (this.#timer === null) this.#speak();
  }

  #speak() {
    this.#timer = null;
    if (!this.#waiting) return;
    this.#element.textContent = this.#waiting;
    this.#waiting = "";
    this.#timer = setTimeout(() => this.#speak(), this.pause);
  }
}

/**
 * Copy a text; where a page may not, as on plain HTTP, select the element that shows it.
 *
 * @param {string} text
 * @param {Element} element
 * @returns {Promise<boolean>} whether it was copied
 */
export async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(element);
    return false;
  }
}
