/** Why an entry is not in the list. */

/** @typedef {import("/streamd.js").Explanation} Explanation */

const NOT_GRANTED = "it may not be read here";

/**
 * Return what keeps an entry out, as the end of a sentence; empty if nothing does.
 *
 * @param {Explanation} explanation
 */
export function whyNot({ found, matches, keys }) {
  if (matches) return "";
  if (!found) return NOT_GRANTED;
  const missed = keys.filter(({ matched }) => !matched);
  if (!missed.length) return NOT_GRANTED;
  return missed
    .map(({ key, values }) => {
      if (!values.length) return `it has no ${key}`;
      return `its ${key} ${values.join(", ")} is not looked for`;
    })
    .join("; ");
}
