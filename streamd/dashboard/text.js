/** Events as lines for people. What is in an event is a stranger's text: it must hide nothing. */

import { isObject } from "./values.js";

/** @typedef {Map<string, Paths | true>} Paths names that are shown elsewhere, as a tree */

const PLAIN = /^[\x20-\x7e]*$/;
// Controls, formats (such as those that turn the direction), surrogates, the unassigned, and what
// ends a line; but for the joiners, which scripts and emoji need.
const INVISIBLE = /(?![\u200c\u200d])[\p{C}\p{Zl}\p{Zp}]/gu;
const INVISIBLE_IN_LINES = /(?![\u200c\u200d\n])[\p{C}\p{Zl}\p{Zp}]/gu;

const DEPTH = 4;
const UNITS = /** @type {const} */ ([
  [60, "s"],
  [3_600, "m"],
  [86_400, "h"],
]);

const numbers = new Intl.NumberFormat("en");
const local = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium",
  timeStyle: "long",
});

/**
 * Return a text with all that is no character on paper as \uXXXX.
 *
 * @param {string} text
 * @param {{lines?: boolean}} [options] lines: whether line ends may stay
 */
export function printable(text, { lines = false } = {}) {
  if (PLAIN.test(text)) return text;
  return text.replace(lines ? INVISIBLE_IN_LINES : INVISIBLE, escaped);
}

/** @param {string} char one character, of one or two units */
function escaped(char) {
  return [...Array(char.length).keys()]
    .map((at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, "0")}`)
    .join("");
}

/**
 * Return a text that is printable and not longer than so many characters, cut with an ellipsis.
 *
 * @param {string} text
 * @param {number} limit
 */
export function brief(text, limit) {
  if (text.length <= limit) return printable(text);
  const end = /[\ud800-\udbff]/.test(text[limit - 1]) ? limit - 1 : limit;
  return `${printable(text.slice(0, end))}…`;
}

/**
 * Return an event as indented JSON: still JSON, with all that is invisible in escapes.
 *
 * @param {unknown} event
 */
export function pretty(event) {
  return printable(JSON.stringify(event, null, 2), { lines: true });
}

/**
 * Return which members of an event the keys show already.
 *
 * @param {readonly {path: string[]}[]} keys
 * @returns {Paths}
 */
export function pathsOf(keys) {
  /** @type {Paths} */
  const paths = new Map();
  for (const { path } of keys) {
    let level = paths;
    for (const step of path.slice(0, -1)) {
      const next = level.get(step);
      if (next === true) break;
      const below = next ?? new Map();
      level.set(step, below);
      level = below;
    }
    level.set(path[path.length - 1], true);
  }
  return paths;
}

/**
 * Return the rest of an event in few words: pairs of a name and a text, nulls left out.
 *
 * @param {Record<string, unknown>} event
 * @param {Paths} shown what is shown elsewhere
 * @param {number} limit characters of all together
 * @returns {[string, string][]}
 */
export function summary(event, shown, limit) {
  /** @type {[string, string][]} */
  const pairs = [];
  let left = limit;
  for (const name of Object.keys(event)) {
    if (left <= 0) break;
    const skipped = shown.get(name);
    const text = skipped === true ? "" : inWords(event[name], left, skipped);
    if (!text) continue;
    const heading = brief(name, 40);
    pairs.push([heading, text]);
    left -= heading.length + text.length + 2;
  }
  return pairs;
}

/**
 * @param {unknown} value
 * @param {number} limit
 * @param {Paths} [shown]
 * @param {number} [depth]
 * @returns {string}
 */
function inWords(value, limit, shown, depth = 0) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return brief(value, limit);
  if (typeof value !== "object") return String(value);
  if (depth === DEPTH) return "…";
  if (!isObject(value)) {
    const items = /** @type {unknown[]} */ (value);
    return `[${listed(items, limit, (item, left) => inWords(item, left, undefined, depth + 1))}]`;
  }
  const inside = listed(Object.keys(value), limit, (name, left) => {
    const skipped = shown?.get(name);
    const text = skipped === true ? "" : inWords(value[name], left, skipped, depth + 1);
    return text && `${brief(name, 40)}: ${text}`;
  });
  return inside && `{${inside}}`;
}

/**
 * @template T
 * @param {readonly T[]} items
 * @param {number} limit
 * @param {(item: T, left: number) => string} show
 */
function listed(items, limit, show) {
  let text = "";
  for (const item of items) {
    if (text.length >= limit) return `${text}, …`;
    const shown = show(item, limit - text.length);
    if (shown) text += text ? `, ${shown}` : shown;
  }
  return text;
}

/**
 * Return how long a time is: now, 12s, 5m, 3h, 2d.
 *
 * @param {number} milliseconds
 */
export function ago(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds === 0) return "now";
  let size = 1;
  for (const [limit, unit] of UNITS) {
    if (seconds < limit) return `${Math.floor(seconds / size)}${unit}`;
    size = limit;
  }
  return `${Math.floor(seconds / size)}d`;
}

/**
 * Return a time to the millisecond, as in 2026-11-24 03:59:10.123 UTC.
 *
 * @param {number} time milliseconds since 1970
 */
export function exactTime(time) {
  return `${isoTime(time).replace("T", " ").slice(0, -1)} UTC`;
}

/**
 * Return a time as a machine reads it, for `<time datetime>`.
 *
 * @param {number} time milliseconds since 1970
 */
export function isoTime(time) {
  return new Date(time).toISOString();
}

/**
 * Return a time as people here write it.
 *
 * @param {number} time milliseconds since 1970
 */
export function localTime(time) {
  return local.format(time);
}

/**
 * Return a number with commas: 12,345.
 *
 * @param {number} value
 */
export function count(value) {
  return numbers.format(value);
}

/**
 * Return a number with its noun: 1 entry, 1,200 entries.
 *
 * @param {number} value
 * @param {string} one
 * @param {string} many
 */
export function counted(value, one, many) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/**
 * Return a duration: 0.4 ms, 12 ms, 3.1 s, 5m.
 *
 * @param {number} milliseconds
 */
export function duration(milliseconds) {
  if (milliseconds < 9.95) return `${trimmed(milliseconds)} ms`;
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${trimmed(milliseconds / 1_000)} s`;
  return ago(milliseconds);
}

/** @param {number} value */
function trimmed(value) {
  return value.toFixed(1).replace(/\.0$/, "");
}
