/** A run of neighbours that grows and shrinks at both ends. */

/**
 * Items with numbers: consecutive, rising from the oldest to the newest, each for good.
 *
 * @template {{weight: number}} T
 */
export class Run {
  /** @type {(T | undefined)[]} a ring; its length is a power of two */
  #ring = new Array(64);
  #oldest = 0;
  #size = 0;
  #weight = 0;

  /** @param {number} [start] the number of the first item */
  constructor(start = 0) {
    this.#oldest = start;
  }

  /** How many there are. */
  get size() {
    return this.#size;
  }

  /** The weight of all together. */
  get weight() {
    return this.#weight;
  }

  /** The number of the oldest item. */
  get oldest() {
    return this.#oldest;
  }

  /** The number of the newest item; one below the oldest when there is none. */
  get newest() {
    return this.#oldest + this.#size - 1;
  }

  /**
   * Return the item of a number, undefined when there is none.
   *
   * @param {number} number
   * @returns {T | undefined}
   */
  at(number) {
    if (number < this.#oldest || number > this.newest) return undefined;
    return this.#ring[this.#place(number)];
  }

  /**
   * Add one at the newest end.
   *
   * @param {T} item
   */
  push(item) {
    this.#grow();
    this.#size++;
    this.#weight += item.weight;
    this.#ring[this.#place(this.newest)] = item;
  }

  /**
   * Add one at the oldest end.
   *
   * @param {T} item
   */
  unshift(item) {
    this.#grow();
    this.#size++;
    this.#oldest--;
    this.#weight += item.weight;
    this.#ring[this.#place(this.#oldest)] = item;
  }

  /** Take the newest away and return it. */
  pop() {
    const item = this.#take(this.newest);
    this.#size--;
    return item;
  }

  /** Take the oldest away and return it. */
  shift() {
    const item = this.#take(this.#oldest);
    this.#size--;
    this.#oldest++;
    return item;
  }

  /** @returns {Generator<T>} all, the oldest first */
  *[Symbol.iterator]() {
    for (let number = this.#oldest; number <= this.newest; number++) {
      yield /** @type {T} */ (this.#ring[this.#place(number)]);
    }
  }

  /** @param {number} number */
  #take(number) {
    if (!this.#size) throw new RangeError("the run is empty");
    const place = this.#place(number);
    const item = /** @type {T} */ (this.#ring[place]);
    this.#ring[place] = undefined;
    this.#weight -= item.weight;
    return item;
  }

  /** @param {number} number */
  #place(number) {
    return number & (this.#ring.length - 1);
  }

  #grow() {
    if (this.#size < this.#ring.length) return;
    /** @type {(T | undefined)[]} */
    const ring = new Array(this.#ring.length * 2);
    for (let number = this.#oldest; number <= this.newest; number++) {
      ring[number & (ring.length - 1)] = this.#ring[this.#place(number)];
    }
    this.#ring = ring;
  }
}
