/** An event to begin with. */

import { canonicalText } from "./values.js";

/** @typedef {import("./filter.js").Filter} Filter */
/** @typedef {import("./values.js").Key} Key */
/** @typedef {Map<string, Tree | string | number>} Tree */

/**
 * Return an event, as indented JSON, with a value for each key: one that the filter matches.
 *
 * @param {readonly Key[]} keys
 * @param {Filter} filter
 */
export function exampleEvent(keys, filter) {
  const wanted = new Map(filter.groups);
  /** @type {Tree} */
  const event = new Map();
  keys.forEach(({ name, path }, at) => {
    const text = wanted.get(name)?.[0];
    set(event, path, text === undefined ? exampleValue(name, at) : valueOf(text));
  });
  event.set("text", "Hello from the dashboard");
  return JSON.stringify(toObject(event), null, 2);
}

/**
 * @param {string} name
 * @param {number} at
 */
function exampleValue(name, at) {
  return name === "kind" ? "test" : at + 1;
}

/**
 * Return a number where that is the same value for the server, as most programs would send it.
 *
 * @param {string} text
 */
function valueOf(text) {
  return text !== "" && canonicalText(Number(text)) === text ? Number(text) : text;
}

/**
 * @param {Tree} tree
 * @param {string[]} path
 * @param {string | number} value
 */
function set(tree, path, value) {
  const [step, ...rest] = path;
  if (!rest.length) {
    tree.set(step, value);
    return;
  }
  const below = tree.get(step);
  const level = below instanceof Map ? below : new Map();
  tree.set(step, level);
  set(level, rest, value);
}

/**
 * @param {Tree} tree
 * @returns {Record<string, unknown>}
 */
function toObject(tree) {
  return Object.fromEntries(
    [...tree].map(([name, value]) => [name, value instanceof Map ? toObject(value) : value]),
  );
}
