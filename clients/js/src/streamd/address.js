/** The address of a server. */

const SCHEMES = new Map([
  ["http:", "ws:"],
  ["https:", "wss:"],
  ["ws:", "ws:"],
  ["wss:", "wss:"],
]);

/**
 * Return `url` with a WebSocket scheme: `http` becomes `ws`, `https` becomes `wss`.
 *
 * Throws a `TypeError` where it is no URL of these four schemes.
 *
 * @param {string | URL} url
 * @param {string} [base] what a relative URL is relative to
 * @returns {string}
 */
export function websocketUrl(url, base) {
  let absolute;
  try {
    absolute = new URL(url, base);
  } catch {
    throw new TypeError(`${withoutSecrets(url)} is no URL of a server`);
  }
  const scheme = SCHEMES.get(absolute.protocol);
  if (scheme === undefined) {
    const known = "a ws://, wss://, http:// or https:// URL";
    throw new TypeError(`not ${known}: ${withoutSecrets(url)}`);
  }
  absolute.protocol = scheme;
  absolute.hash = "";
  return absolute.href;
}

/** @param {string | URL} url */
function withoutSecrets(url) {
  return String(url).replace(/\/\/.*@/, "//…@");
}
