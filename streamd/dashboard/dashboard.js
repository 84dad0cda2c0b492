/** The page: what comes from the server goes into the log, and the views show it. */

import { CallTimeout, RpcError, connect } from "/streamd.js";
import { Counts } from "./counts.js";
import { Details } from "./details.js";
import { Announcer, Painter, find, setText } from "./dom.js";
import { exampleEvent } from "./example.js";
import { Chart, CountsView, Facts } from "./figures.js";
import { Filter } from "./filter.js";
import { FilterBar } from "./filterbar.js";
import { InsertBox } from "./insert.js";
import { listenToKeys } from "./keyboard.js";
import { List } from "./list.js";
import { Log } from "./log.js";
import { Lag, Rates } from "./rates.js";
import { Look, clickedTerm } from "./row.js";
import { Status } from "./status.js";
import { Stream } from "./stream.js";
import { brief, count, counted } from "./text.js";
import { TokenForm, asksForToken } from "./token.js";
import { readKeys } from "./values.js";

/** @typedef {import("./log.js").Entry} Entry */
/** @typedef {import("./values.js").Key} Key */
/** @typedef {import("./values.js").Term} Term */
/** @typedef {import("/streamd.js").Client} Client */

const SECOND = 1_000;
const PING_SECONDS = 10;
const TELL_SECONDS = 15;
const PAGE = 100;

class Dashboard {
  #filter = Filter.fromHash(location.hash);
  /** @type {Key[]} */
  #keys = [];
  #paused = false;
  #ticks = 0;
  #told = 0;
  /** Why the client stopped. @type {Error | null} */
  #stopped = null;

  #counts = new Counts();
  #log = new Log({}, this.#counts);
  #rates = new Rates(performance.now());
  #lag = new Lag();
  #look = new Look(this.#filter);
  #painter = new Painter(() => this.#paint());
  #announcer = new Announcer(find("announcer", HTMLElement));

  #bar = new FilterBar(this.#filter, (filter) => this.#go(filter));
  #details = new Details(this.#look, () => this.#list.focusActive());
  #chart = new Chart(this.#rates);
  #facts = new Facts();
  #countsView = new CountsView(
    this.#counts,
    (name) => this.#count(name),
    (term) => this.#toggle(term),
  );
  #insertBox = new InsertBox(
    (event) => this.#client.insert(event),
    () => exampleEvent(this.#keys, this.#filter),
  );
  #tokenForm = new TokenForm((token) => this.#connect(token));
  #status = new Status(
    (text) => this.#announcer.say(text),
    () => this.#connect(null),
  );
  #elements = {
    feed: find("feed", HTMLElement),
    tail: find("tail-text", HTMLElement),
    retry: find("tail-retry", HTMLButtonElement),
    newestBox: find("newest-box", HTMLElement),
    newest: find("newest", HTMLButtonElement),
    pause: find("pause", HTMLButtonElement),
    empty: find("empty", HTMLElement),
    emptyTitle: find("empty-title", HTMLElement),
    emptyText: find("empty-text", HTMLElement),
    emptyInsert: find("empty-insert", HTMLButtonElement),
    emptyClear: find("empty-clear", HTMLButtonElement),
  };
  #list = new List({
    scroller: find("scroller", HTMLElement),
    feed: this.#elements.feed,
    rows: find("rows", HTMLElement),
    tail: find("tail", HTMLElement),
    log: this.#log,
    look: this.#look,
    now: () => Date.now() - this.#lag.skew,
    repaint: () => this.#painter.request(),
    onOpen: ({ entry }) => entry && this.#details.show(entry),
    onTerm: (term) => this.#toggle(term),
  });
  /** @type {Client} */
  #client;
  /** @type {Stream} */
  #stream;

  constructor() {
    this.#listen();
    [this.#client, this.#stream] = this.#open(null);
    setInterval(() => this.#tick(), SECOND);
  }

  // The connection.

  /** @param {string | null} token */
  #connect(token) {
    this.#stream.close();
    this.#client.close();
    [this.#client, this.#stream] = this.#open(token);
    this.#painter.request();
  }

  /**
   * @param {string | null} token
   * @returns {[Client, Stream]}
   */
  #open(token) {
    this.#stopped = null;
    const client = connect("/", {
      ...(token === null ? {} : { getToken: () => token }),
      onState: (state, error) => {
        // After this function has returned, which a first state may come before.
        queueMicrotask(() => client === this.#client && this.#changed(state, error));
      },
    });
    const stream = new Stream({
      client,
      log: this.#log,
      page: PAGE,
      isPassing,
      onChange: () => this.#painter.request(),
      onEntry: (entry) => this.#noted(entry),
    });
    return [client, stream];
  }

  /**
   * @param {string} state
   * @param {Error | null} error
   */
  #changed(state, error) {
    if (state === "connected") this.#learn();
    if (state === "stopped") this.#stop(error);
    if (state !== "connected") this.#facts.setPing(null);
    this.#painter.request();
  }

  /** @param {Error | null} error */
  #stop(error) {
    this.#stopped = error;
    if (error && asksForToken(error)) this.#tokenForm.ask(error);
  }

  async #learn() {
    const client = this.#client;
    try {
      const info = await client.info();
      if (client !== this.#client) return;
      this.#facts.setServer(info);
      this.#setKeys(readKeys(info.keys, info.paths));
      this.#ping();
      if (!this.#stream.begun) this.#follow();
    } catch (error) {
      if (client !== this.#client || !(error instanceof Error)) return;
      if (asksForToken(error)) this.#stop(error);
      else if (!isPassing(error)) this.#bar.complain(error.message);
      else if (client.connected) this.#learn();
    }
  }

  async #ping() {
    const client = this.#client;
    const time = await client.ping().catch(() => null);
    if (client === this.#client) this.#facts.setPing(time);
  }

  // What is looked for.

  /** @param {Key[]} keys */
  #setKeys(keys) {
    if (JSON.stringify(keys) === JSON.stringify(this.#keys)) return;
    this.#keys = keys;
    const names = keys.map(({ name }) => name);
    this.#look.setKeys(keys);
    this.#bar.setKeys(names);
    this.#count(names.includes("kind") ? "kind" : names[0]);
    this.#countsView.setKeys(names, this.#counts.key?.name ?? "");
    this.#list.refresh();
  }

  /** @param {string} name */
  #count(name) {
    const key = this.#keys.find((each) => each.name === name) ?? null;
    this.#counts.choose(key, this.#log.entries());
    this.#countsView.paint(this.#filter);
  }

  /** @param {Term} term */
  #toggle({ key, text }) {
    this.#go(this.#filter.toggle(key, text));
  }

  /**
   * Look for something else, in the address too.
   *
   * @param {Filter} filter
   */
  #go(filter) {
    history.pushState(null, "", filter.toHash() || location.pathname + location.search);
    this.#apply(filter);
  }

  /** @param {Filter} filter */
  #apply(filter) {
    this.#filter = filter;
    this.#look.filter = filter;
    this.#paused = false;
    this.#rates.reset(performance.now());
    this.#told = 0;
    this.#bar.show(filter);
    this.#details.refresh();
    this.#countsView.paint(filter);
    this.#list.leave();
    this.#list.toNewest();
    this.#follow();
  }

  #follow() {
    const sentence = brief(this.#filter.toString(), 60);
    document.title = sentence ? `${sentence} – streamd` : "streamd";
    this.#stream.follow(this.#filter);
  }

  /** @param {Entry} entry */
  #noted(entry) {
    this.#rates.note(performance.now());
    this.#lag.note(Date.now(), entry.time);
    this.#painter.request();
  }

  // What is to be seen.

  #paint() {
    const held = this.#paused || this.#list.isScrolled || this.#list.reading;
    if (held && !this.#log.held) this.#log.hold();
    if (!held && this.#log.held) this.#log.release();
    this.#loadOlder();
    this.#list.paint();
    this.#paintNewest();
    this.#paintEnds();
    this.#paintStatus();
  }

  #loadOlder() {
    const { state, older } = this.#stream;
    if (state !== "following" || older !== "idle" || this.#log.before === null) return;
    if (this.#list.isNearEnd) this.#requestOlder();
  }

  async #requestOlder() {
    this.#list.follow(await this.#stream.loadOlder());
  }

  #paintNewest() {
    const { newest, newestBox, pause } = this.#elements;
    const { fresh, held } = this.#log;
    newestBox.hidden = !held || !(fresh || this.#list.isScrolled);
    setText(newest, fresh ? `${count(fresh)} new` : "Newest");
    setText(pause, this.#paused ? "Resume" : "Pause");
    pause.classList.toggle("main", this.#paused);
  }

  #paintEnds() {
    const { feed, tail, retry } = this.#elements;
    const { state, older, olderError, error } = this.#stream;
    feed.ariaBusy = String(state === "loading" || older === "loading");
    retry.hidden = older !== "failed";
    setText(tail, this.#tailText(state, older, olderError));
    this.#paintEmpty(state, error);
    if (error && state === "failed") this.#bar.complain(error.message);
    else this.#bar.complain(null);
  }

  /**
   * @param {string} state
   * @param {string} older
   * @param {Error | null} error
   */
  #tailText(state, older, error) {
    if (state === "loading") return "loading…";
    if (state === "failed") return "";
    if (older === "failed") return brief(error?.message ?? "", 200);
    if (this.#log.before !== null) return "loading…";
    return this.#log.size ? "the beginning" : "";
  }

  /**
   * @param {string} state
   * @param {Error | null} error
   */
  #paintEmpty(state, error) {
    const { empty, emptyTitle, emptyText, emptyInsert, emptyClear } = this.#elements;
    const nothing = state === "following" && !this.#log.size && this.#log.before === null;
    empty.hidden = !(nothing && !this.#log.waiting) && state !== "failed";
    if (empty.hidden) return;
    setText(emptyTitle, error ? "The server refused this" : this.#filter.size ? "No entry matches" : "No entries yet");
    setText(emptyText, error ? brief(error.message, 300) : "What is inserted from now on will appear here.");
    emptyInsert.hidden = error !== null;
    emptyClear.hidden = !this.#filter.size;
  }

  #paintStatus() {
    this.#status.paint(
      {
        client: this.#client.state,
        feed: this.#stream.feedState,
        paused: this.#paused,
        retryAt: this.#client.retryAt,
        trouble: (this.#stopped ?? this.#client.trouble)?.message ?? "",
      },
      Date.now(),
    );
  }

  #tick() {
    this.#ticks++;
    this.#lag.settle();
    if (document.hidden) return;
    this.#list.tick();
    this.#chart.paint(performance.now());
    this.#countsView.paint(this.#filter);
    this.#facts.paint(this.#rates.total, this.#log.size + this.#log.waiting, this.#lag);
    this.#paintStatus();
    if (this.#ticks % PING_SECONDS === 0 && this.#client.connected) this.#ping();
    if (this.#ticks % TELL_SECONDS === 0) this.#tell();
  }

  #tell() {
    const came = this.#rates.total - this.#told;
    this.#told = this.#rates.total;
    if (came > 0) this.#announcer.say(counted(came, "new entry", "new entries"));
  }

  // What the reader does.

  #goLive() {
    this.#paused = false;
    this.#list.leave();
    this.#list.toNewest();
  }

  #pause() {
    if (this.#paused) this.#goLive();
    else this.#paused = true;
    this.#painter.request();
  }

  /** @param {number} by */
  #move(by) {
    this.#list.move(by);
    const entry = this.#list.active?.entry;
    if (entry && this.#details.open) this.#details.show(entry);
  }

  #leave() {
    if (this.#details.open) this.#details.close();
    else if (this.#list.reading) this.#list.leave();
    else this.#goLive();
  }

  #listen() {
    const { newest, pause, retry, emptyInsert, emptyClear } = this.#elements;
    const help = find("help", HTMLDialogElement);
    const figures = find("figures-toggle", HTMLButtonElement);
    const chips = (/** @type {Event} */ event) => {
      const term = clickedTerm(event.target);
      if (term) this.#toggle(term);
    };
    newest.addEventListener("click", () => this.#goLive());
    pause.addEventListener("click", () => this.#pause());
    retry.addEventListener("click", () => this.#requestOlder());
    emptyClear.addEventListener("click", () => this.#go(new Filter()));
    for (const button of [emptyInsert, find("insert-open", HTMLButtonElement)]) {
      button.addEventListener("click", () => this.#insertBox.open());
    }
    find("help-open", HTMLButtonElement).addEventListener("click", () => help.showModal());
    find("help-close", HTMLButtonElement).addEventListener("click", () => help.close());
    figures.addEventListener("click", () => {
      const open = document.body.classList.toggle("with-figures");
      figures.ariaExpanded = String(open);
    });
    this.#details.chips.addEventListener("click", chips);
    addEventListener("popstate", () => {
      const filter = Filter.fromHash(location.hash);
      if (filter.toHash() !== this.#filter.toHash()) this.#apply(filter);
    });
    document.addEventListener("visibilitychange", () => this.#painter.request());
    this.#listenToKeys(() => help.showModal());
  }

  /** @param {() => void} help */
  #listenToKeys(help) {
    listenToKeys(
      {
        move: (by) => this.#move(by),
        turn: (screens) => this.#move(screens * this.#list.pageLength),
        toNewest: () => this.#list.goTo(this.#log.newest),
        toOldest: () => this.#list.goTo(this.#log.oldest),
        open: () => {
          const entry = this.#list.active?.entry;
          if (entry) this.#details.show(entry);
        },
        leave: () => this.#leave(),
        pause: () => this.#pause(),
        filter: () => this.#bar.focus(),
        insert: () => this.#insertBox.open(),
        help,
      },
      find("scroller", HTMLElement),
    );
  }
}

/** @param {unknown} error */
function isPassing(error) {
  return error instanceof CallTimeout || (error instanceof RpcError && error.retryable);
}

new Dashboard();
