/** The figures beside the list: events per second, the most frequent values, and the stream. */

import { find, make, makeButton, setText } from "./dom.js";
import { brief, count, counted, duration } from "./text.js";
import { hueOf } from "./values.js";

/** @typedef {import("./counts.js").Counts} Counts */
/** @typedef {import("./rates.js").Lag} Lag */
/** @typedef {import("./rates.js").Rates} Rates */

const BARS = 10;
const HEIGHT = 40;
const MEAN_OF = 10;

/** The chart of events per second. */
export class Chart {
  #svg = find("chart", SVGSVGElement);
  #path = find("chart-path", SVGPathElement);
  #most = find("chart-most", HTMLElement);
  #rate = find("rate", HTMLElement);
  #rates;

  /** @param {Rates} rates */
  constructor(rates) {
    this.#rates = rates;
  }

  /**
   * Show the last two minutes.
   *
   * @param {number} now monotonic milliseconds
   */
  paint(now) {
    const series = this.#rates.series(now);
    const most = Math.max(...series);
    const last = series[series.length - 1];
    const recent = series.slice(-MEAN_OF).reduce((sum, each) => sum + each, 0) / MEAN_OF;
    this.#path.setAttribute("d", bars(series, Math.max(most, 4)));
    setText(this.#most, most ? `most: ${count(most)}/s` : "");
    setText(this.#rate, count(last));
    this.#svg.ariaLabel =
      `Events per second in the last two minutes: ${count(last)} now, at most ${count(most)}, ` +
      `${recent.toFixed(1)} on average in the last ten seconds`;
  }
}

/**
 * @param {number[]} series
 * @param {number} most
 */
function bars(series, most) {
  return series
    .map((each, at) => {
      const height = each ? Math.max((each / most) * HEIGHT, 1) : 0;
      return height ? `M${at} ${HEIGHT}v${-height.toFixed(2)}h.8v${height.toFixed(2)}z` : "";
    })
    .join("");
}

/** The bars of the most frequent values. */
export class CountsView {
  #list = find("counts", HTMLOListElement);
  #of = find("counts-of", HTMLElement);
  #choice = find("counts-key", HTMLSelectElement);
  #counts;
  /** @type {{button: HTMLButtonElement, name: HTMLElement, number: HTMLElement, text: string}[]} */
  #bars = [];
  #onPick;

  /**
   * @param {Counts} counts
   * @param {(name: string) => void} onChoose called with the name of the key to count
   * @param {(term: import("./values.js").Term) => void} onPick called with the value clicked
   */
  constructor(counts, onChoose, onPick) {
    this.#counts = counts;
    this.#onPick = onPick;
    this.#choice.addEventListener("change", () => onChoose(this.#choice.value));
  }

  /**
   * Offer these keys.
   *
   * @param {readonly string[]} names
   * @param {string} chosen
   */
  setKeys(names, chosen) {
    this.#choice.replaceChildren(...names.map((name) => new Option(name)));
    this.#choice.value = chosen;
  }

  /**
   * Show the counts.
   *
   * @param {import("./filter.js").Filter} filter
   */
  paint(filter) {
    const top = this.#counts.top(BARS);
    const name = this.#counts.key?.name ?? "";
    top.forEach(([text, number], at) => {
      const bar = this.#bars[at] ?? this.#addBar();
      this.#fill(bar, name, text, number, number / top[0][1], filter.has(name, text));
    });
    for (const bar of this.#bars.splice(top.length)) bar.button.parentElement?.remove();
    const values = counted(this.#counts.size, "value", "values");
    const of = top.length ? `${values} among the entries that are here` : "nothing to count yet";
    setText(this.#of, of);
  }

  #addBar() {
    const name = make("bdi", "name");
    const number = make("span", "number");
    const button = makeButton("bar", "", name, number);
    const bar = { button, name, number, text: "" };
    button.addEventListener("click", () =>
      this.#onPick({ key: this.#counts.key?.name ?? "", text: bar.text }),
    );
    this.#list.append(make("li", "", button));
    this.#bars.push(bar);
    return bar;
  }

  /**
   * @param {{button: HTMLButtonElement, name: HTMLElement, number: HTMLElement, text: string}} bar
   * @param {string} key
   * @param {string} text
   * @param {number} number
   * @param {number} share of the most frequent one
   * @param {boolean} wanted
   */
  #fill(bar, key, text, number, share, wanted) {
    bar.text = text;
    setText(bar.name, brief(text, 60) || "(empty)");
    setText(bar.number, count(number));
    bar.button.style.setProperty("--share", `${(share * 100).toFixed(1)}%`);
    bar.button.style.setProperty("--hue", String(hueOf(text)));
    bar.button.classList.toggle("kind", key === "kind");
    bar.button.setAttribute("aria-pressed", String(wanted));
    const offer = wanted ? "Remove from the filter" : "Add to the filter";
    bar.button.title = `${key}: ${brief(text, 300)}\n${offer}`;
  }
}

/** What is known of the stream and the server. */
export class Facts {
  #short = find("lag", HTMLElement);
  #total = find("fact-total", HTMLElement);
  #here = find("fact-here", HTMLElement);
  #lag = find("fact-lag", HTMLElement);
  #ping = find("fact-ping", HTMLElement);
  #server = find("fact-server", HTMLElement);
  #epoch = find("fact-epoch", HTMLElement);

  /**
   * Show who serves.
   *
   * @param {{server: string, version: string, epoch: string}} info
   */
  setServer({ server, version, epoch }) {
    setText(this.#server, brief(`${server} ${version}`, 60));
    setText(this.#epoch, brief(epoch, 8));
    this.#epoch.title = brief(epoch, 100);
  }

  /** @param {number | null} roundTrip milliseconds, null when there is no connection */
  setPing(roundTrip) {
    setText(this.#ping, roundTrip === null ? "–" : duration(roundTrip));
  }

  /**
   * Show what has come so far.
   *
   * @param {number} total
   * @param {number} here
   * @param {Lag} lag
   */
  paint(total, here, lag) {
    const text = lag.value === null ? "–" : duration(lag.value);
    setText(this.#total, count(total));
    setText(this.#here, count(here));
    setText(this.#lag, text);
    setText(this.#short, `lag ${text}`);
  }
}
