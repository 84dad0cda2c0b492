/**
 * What a value of the wire must be. Each returns it, or throws `ProtocolError` with its name.
 */

import { ProtocolError } from "./errors.js";

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {string}
 */
export function text(value, name) {
  if (typeof value !== "string") {
    throw unknownForm(`${name} is no text`);
  }
  return value;
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {number}
 */
export function whole(value, name) {
  if (!Number.isInteger(value)) {
    throw unknownForm(`${name} is no whole number`);
  }
  return /** @type {number} */ (value);
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {boolean}
 */
export function truth(value, name) {
  if (typeof value !== "boolean") {
    throw unknownForm(`${name} is neither true nor false`);
  }
  return value;
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {any[]}
 */
export function list(value, name) {
  if (!Array.isArray(value)) {
    throw unknownForm(`${name} is no list`);
  }
  return value;
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {Record<string, any>}
 */
export function object(value, name) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw unknownForm(`${name} is no object`);
  }
  return value;
}

/**
 * @param {string} what
 * @returns {ProtocolError}
 */
export function unknownForm(what) {
  return new ProtocolError(`the server sent a message of an unknown form: ${what}`);
}
