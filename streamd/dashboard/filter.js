/** What is looked for: AND between keys, OR between the values of one. */

/** @typedef {{key: string | null, text: string}} Word a value, with its key if that was written */

const WORD = /(?:([A-Za-z_][A-Za-z0-9_-]*)=)?(?:"((?:[^"]|"")*)"|([^\s,]+))/g;

/** A filter; it never changes, what changes it returns another. */
export class Filter {
  /** @type {ReadonlyMap<string, ReadonlySet<string>>} */
  #values;

  /** @param {ReadonlyMap<string, ReadonlySet<string>>} [values] texts by key, none empty */
  constructor(values = new Map()) {
    this.#values = values;
  }

  /**
   * Read a filter from an address: `#user=23&user=291&kind=friend`.
   *
   * @param {string} hash
   */
  static fromHash(hash) {
    /** @type {Map<string, Set<string>>} */
    const values = new Map();
    for (const [key, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
      const texts = values.get(key);
      if (texts) texts.add(text);
      else values.set(key, new Set([text]));
    }
    return new Filter(values);
  }

  /** The filter in an address, as `fromHash` reads it; empty for one that matches everything. */
  toHash() {
    const words = new URLSearchParams();
    for (const [key, texts] of this.#values) for (const text of texts) words.append(key, text);
    const hash = words.toString();
    return hash && `#${hash}`;
  }

  /** The filter as the server takes it. */
  toObject() {
    return Object.fromEntries([...this.#values].map(([key, texts]) => [key, [...texts]]));
  }

  /** The filter as a sentence: user is 23 or 291, and kind is friend. */
  toString() {
    return [...this.#values]
      .map(([key, texts]) => `${key} is ${[...texts].join(" or ")}`)
      .join(", and ");
  }

  /** How many values it has, of all keys. */
  get size() {
    return [...this.#values.values()].reduce((sum, texts) => sum + texts.size, 0);
  }

  /** @returns {[string, string[]][]} the keys in the order they were added, with their values */
  get groups() {
    return [...this.#values].map(([key, texts]) => [key, [...texts]]);
  }

  /**
   * Whether a value is one that is looked for.
   *
   * @param {string} key
   * @param {string} text
   */
  has(key, text) {
    return this.#values.get(key)?.has(text) ?? false;
  }

  /**
   * Return this filter with more values of a key.
   *
   * @param {string} key
   * @param {readonly string[]} texts
   */
  with(key, texts) {
    if (!texts.length) return this;
    return new Filter(
      new Map(this.#values).set(key, new Set([...(this.#values.get(key) ?? []), ...texts])),
    );
  }

  /**
   * Return this filter without a value of a key, or without the key. A key without values is
   * gone, and does not mean that nothing matches.
   *
   * @param {string} key
   * @param {string} [text]
   */
  without(key, text) {
    const values = new Map(this.#values);
    const texts = new Set(text === undefined ? [] : values.get(key));
    if (text !== undefined) texts.delete(text);
    if (texts.size) values.set(key, texts);
    else values.delete(key);
    return new Filter(values);
  }

  /**
   * Return this filter with a value that it lacks, or without one that it has.
   *
   * @param {string} key
   * @param {string} text
   */
  toggle(key, text) {
    return this.has(key, text) ? this.without(key, text) : this.with(key, [text]);
  }
}

/**
 * Return the values in a text that was typed or pasted: split at commas, spaces and line ends.
 *
 * Double quotes keep them together ("" is a quote inside). `kind=friend` names its key, if there
 * is a key of that name.
 *
 * @param {string} text
 * @param {readonly string[]} keys the names of all keys
 * @returns {Word[]}
 */
export function splitValues(text, keys) {
  return [...text.matchAll(WORD)].map(([whole, key, quoted, bare]) => {
    const value = quoted === undefined ? bare : quoted.replaceAll('""', '"');
    if (key === undefined) return { key: null, text: value };
    return keys.includes(key) ? { key, text: value } : { key: null, text: whole };
  });
}
