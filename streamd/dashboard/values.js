/** The values of an event's keys, as the server reads and compares them. */

/** @typedef {{name: string, path: string[]}} Key a declared key, and where it is read */
/** @typedef {{key: string, text: string}} Term one value of a key, in canonical text */

const WHOLE = 2 ** 64;
/** Among many the one with which push, watch, friend, star, fork … are far apart. */
const SEED = 109_772;

/**
 * Return the text by which the server compares a value: equal texts are equal values.
 *
 * Strings are themselves, booleans `true` and `false`, whole numbers below 2^64 decimal, other
 * numbers as Python writes them (1e-05). Null for what is no value of a key.
 *
 * @param {unknown} value
 * @returns {string | null}
 */
export function canonicalText(value) {
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return String(value);
  if (typeof value !== "number" || !Number.isFinite(value)) return null;
  if (Number.isSafeInteger(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < WHOLE) return BigInt(value).toString();
  return fractionText(value);
}

/** @param {number} value */
function fractionText(value) {
  // Both languages write the fewest digits that are this number; they differ in where 1e5 begins.
  const [digits, exponent] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 16) return String(value);
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/**
 * Return the keys of a stream: the names of `info().keys`, with the paths of `info().paths`.
 *
 * @param {readonly string[]} names
 * @param {Record<string, string>} paths
 * @returns {Key[]}
 */
export function readKeys(names, paths) {
  return names.map((name) => ({
    name,
    path: (Object.hasOwn(paths, name) ? paths[name] : name).split("."),
  }));
}

/**
 * Return the texts of an event's values for a key, each once; a list has several.
 *
 * @param {unknown} event
 * @param {Key} key
 * @returns {string[]}
 */
export function textsOf(event, key) {
  const value = valueAt(event, key.path);
  if (!Array.isArray(value)) {
    const text = canonicalText(value);
    return text === null ? [] : [text];
  }
  const texts = value.map(canonicalText).filter((text) => text !== null);
  return [...new Set(texts)];
}

/**
 * @param {unknown} event
 * @param {string[]} path
 * @returns {unknown}
 */
function valueAt(event, path) {
  let value = event;
  for (const step of path) {
    // Only what the event itself has: it knows no `constructor`.
    if (!isObject(value) || !Object.hasOwn(value, step)) return null;
    value = value[step];
  }
  return value;
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Return about how many bytes of memory a value of JSON takes.
 *
 * @param {unknown} value
 * @returns {number}
 */
export function weigh(value) {
  if (typeof value === "string") return 24 + value.length;
  if (typeof value !== "object" || value === null) return 8;
  let weight = 32;
  for (const member of Object.values(value)) weight += 8 + weigh(member);
  return weight;
}

/**
 * Return the hue that a text always has, in degrees.
 *
 * @param {string} text
 * @returns {number} 0 to 345, in steps of 15 that eyes can tell apart
 */
export function hueOf(text) {
  let hash = SEED; // FNV-1a, and the last steps of Murmur
  for (let at = 0; at < Math.min(text.length, 64); at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39);
  return (((hash ^ (hash >>> 15)) >>> 0) % 24) * 15;
}
