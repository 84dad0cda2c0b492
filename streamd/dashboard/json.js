/** JSON as people type it: what is wrong with it, and where. */

/** @typedef {{line: number, column: number, message: string}} Fault counted from 1 */

const DEPTH = 200;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORD = /[A-Za-z_$][\w$]*/y;
const TEXT = /[^"\\\x00-\x1f]+/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})/y;
const LITERALS = ["true", "false", "null"];

/**
 * Return what is wrong with a text of JSON, null when nothing is.
 *
 * @param {string} text
 * @returns {Fault | null}
 */
export function findFault(text) {
  try {
    new Reader(text).read();
    return null;
  } catch (error) {
    if (!(error instanceof Stumble)) throw error;
    const lines = text.slice(0, error.at).split("\n");
    return {
      line: lines.length,
      column: lines[lines.length - 1].length + 1,
      message: error.message,
    };
  }
}

/**
 * Return a text of JSON as an event, or the sentence that says why it is none.
 *
 * @param {string} text
 * @returns {{event: Record<string, unknown>, fault: null} | {event: null, fault: string}}
 */
export function readEvent(text) {
  if (!text.trim()) return { event: null, fault: "write an event: a JSON object" };
  const fault = findFault(text);
  if (fault) {
    return { event: null, fault: `line ${fault.line}, column ${fault.column}: ${fault.message}` };
  }
  const event = JSON.parse(text);
  if (typeof event !== "object" || event === null || Array.isArray(event)) {
    return { event: null, fault: 'an event is an object, in braces: {"kind": "test"}' };
  }
  return { event, fault: null };
}

class Stumble extends Error {
  /**
   * @param {number} at
   * @param {string} message
   */
  constructor(at, message) {
    super(message);
    this.at = at;
  }
}

class Reader {
  #text;
  #at = 0;
  #depth = 0;

  /** @param {string} text */
  constructor(text) {
    this.#text = text;
  }

  read() {
    this.#value("a value is missing");
    this.#skip(SPACE);
    if (this.#at < this.#text.length) this.#fail("nothing may follow the value");
  }

  /** @param {string} missing */
  #value(missing) {
    this.#skip(SPACE);
    const char = this.#text[this.#at];
    if (char === "{") this.#nest("}", () => this.#member());
    else if (char === "[") this.#nest("]", () => this.#value("a value is missing"));
    else if (char === '"') this.#string();
    else if (char === "-" || (char >= "0" && char <= "9")) this.#number();
    else this.#word(missing);
  }

  /**
   * @param {string} end
   * @param {() => void} readItem
   */
  #nest(end, readItem) {
    if (++this.#depth > DEPTH) this.#fail("this is nested too deeply");
    this.#at++;
    if (!this.#take(end)) {
      do readItem();
      while (this.#take(","));
      if (!this.#take(end)) this.#fail(`a comma or ${end} is missing`);
    }
    this.#depth--;
  }

  #member() {
    this.#skip(SPACE);
    if (this.#text[this.#at] !== '"') this.#fail("a name in double quotes is missing");
    this.#string();
    if (!this.#take(":")) this.#fail("a colon is missing after the name");
    this.#value("a value is missing");
  }

  #string() {
    const start = this.#at++;
    for (;;) {
      while (this.#skip(TEXT) || this.#skip(ESCAPE));
      const char = this.#text[this.#at];
      if (char === '"') break;
      if (char === "\\") this.#fail("this escape is not known");
      if (char === undefined || char === "\n") {
        this.#at = start;
        this.#fail("this text has no closing quote");
      }
      this.#fail("a control character must be written as an escape, such as \\t");
    }
    this.#at++;
  }

  #number() {
    const start = this.#at;
    if (!this.#skip(NUMBER) || /[\w.]/.test(this.#text[this.#at] ?? "")) {
      this.#at = start;
      this.#fail("this is not a number");
    }
    const value = Number(this.#text.slice(start, this.#at));
    if (Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))) return;
    if (/[.eE]/.test(this.#text.slice(start, this.#at)) && Number.isFinite(value)) return;
    this.#at = start;
    this.#fail("a browser can't keep so large a number: write it in quotes");
  }

  /** @param {string} missing */
  #word(missing) {
    const start = this.#at;
    if (!this.#skip(WORD)) this.#fail(missing);
    const word = this.#text.slice(start, this.#at);
    if (LITERALS.includes(word)) return;
    this.#at = start;
    this.#fail(`${word.slice(0, 40)} is no value: write a text in double quotes`);
  }

  /**
   * Go on after a character if it comes next.
   *
   * @param {string} char
   */
  #take(char) {
    this.#skip(SPACE);
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  /**
   * Go on after what a sticky pattern matches here; return whether it did.
   *
   * @param {RegExp} pattern
   */
  #skip(pattern) {
    pattern.lastIndex = this.#at;
    const found = pattern.test(this.#text);
    if (found) this.#at = pattern.lastIndex;
    return found;
  }

  /**
   * @param {string} message
   * @returns {never}
   */
  #fail(message) {
    throw new Stumble(this.#at, message);
  }
}
