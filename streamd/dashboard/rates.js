/** How many entries come in a second, and how late. */

const SECONDS = 121;

/** The entries of each of the last two minutes' seconds. */
export class Rates {
  /** All that were ever noted. */
  total = 0;
  #counts = new Uint32Array(SECONDS);
  #second = 0;

  /** @param {number} now monotonic milliseconds */
  constructor(now) {
    this.reset(now);
  }

  /**
   * Begin anew.
   *
   * @param {number} now monotonic milliseconds
   */
  reset(now) {
    this.total = 0;
    this.#counts.fill(0);
    this.#second = Math.floor(now / 1000);
  }

  /**
   * Note an entry that came.
   *
   * @param {number} now monotonic milliseconds
   */
  note(now) {
    this.#move(now);
    this.#counts[this.#second % SECONDS]++;
    this.total++;
  }

  /**
   * Return the counts of the last whole seconds, the oldest first.
   *
   * @param {number} now monotonic milliseconds
   * @param {number} [length] at most 120
   */
  series(now, length = SECONDS - 1) {
    this.#move(now);
    return Array.from(
      { length },
      (_, at) => this.#counts[(this.#second - length + at + SECONDS) % SECONDS],
    );
  }

  /** @param {number} now */
  #move(now) {
    const second = Math.floor(now / 1000);
    const passed = Math.min(second - this.#second, SECONDS);
    for (let step = 1; step <= passed; step++) this.#counts[(this.#second + step) % SECONDS] = 0;
    this.#second = Math.max(second, this.#second);
  }
}

/**
 * How late entries arrive. The clocks of the server and of this machine differ by something; the
 * quickest entry tells by how much at most, and lag is what others took longer than it.
 */
export class Lag {
  /** The latest lag in milliseconds, null before the first entry. @type {number | null} */
  value = null;
  #least = Infinity;
  #worst = -1;

  /**
   * Note when an entry came, and the time that the server gave it.
   *
   * @param {number} now milliseconds since 1970, by this machine
   * @param {number} time milliseconds since 1970, by the server
   */
  note(now, time) {
    const delay = now - time;
    this.#least = Math.min(this.#least, delay);
    this.#worst = Math.max(this.#worst, delay - this.#least);
  }

  /** Take the worst since the last call as the value; the value stays when nothing came. */
  settle() {
    if (this.#worst >= 0) this.value = this.#worst;
    this.#worst = -1;
    return this.value;
  }

  /** By how many milliseconds this machine's clock is ahead of the server's, at most. */
  get skew() {
    return Number.isFinite(this.#least) ? this.#least : 0;
  }
}
