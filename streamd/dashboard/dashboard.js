/** The page: what comes from the server goes into the log, and the views show it. */

import { Connection } from "./connection.js";
import { Counts } from "./counts.js";
import { Details } from "./details.js";
import { Announcer, Painter, find, setText } from "./dom.js";
import { Ends } from "./ends.js";
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
import { brief, counted } from "./text.js";
import { TokenForm } from "./token.js";
import { readKeys } from "./values.js";

/** @typedef {import("./log.js").Entry} Entry */
/** @typedef {import("./values.js").Key} Key */
/** @typedef {import("./values.js").Term} Term */

const SECOND = 1_000;
const PING_SECONDS = 10;
const TELL_SECONDS = 15;

class Dashboard {
  #filter = Filter.fromHash(location.hash);
  /** @type {Key[]} */
  #keys = [];
  #paused = false;
  #ticks = 0;
  #told = 0;

  // What is known.
  #counts = new Counts();
  #log = new Log({}, this.#counts);
  #rates = new Rates(performance.now());
  #lag = new Lag();
  #look = new Look(this.#filter);
  #connection = new Connection({
    log: this.#log,
    filter: this.#filter,
    onEntry: (entry) => this.#noted(entry),
    onInfo: (info) => this.#introduce(info),
    onPing: (milliseconds) => this.#facts.setPing(milliseconds),
    onTokenNeeded: (why, options) => this.#tokenForm.ask(why, options),
    onChange: () => this.#painter.request(),
  });

  // What is to be seen.
  #painter = new Painter(() => this.#paint());
  #announcer = new Announcer(find("announcer", HTMLElement));
  #pauseButton = find("pause", HTMLButtonElement);
  #scroller = find("scroller", HTMLElement);
  #bar = new FilterBar(this.#filter, (filter) => this.#go(filter));
  #details = new Details(this.#look, () => this.#list.reading || this.#list.leave());
  #chart = new Chart(this.#rates);
  #facts = new Facts();
  #tokenForm = new TokenForm((token) => this.#connection.open(token));
  #countsView = new CountsView(
    this.#counts,
    (name) => this.#count(name),
    (term) => this.#toggle(term),
  );
  #insertBox = new InsertBox(
    (event) => this.#connection.insert(event),
    (cursor) => this.#connection.whyNot(cursor),
    () => exampleEvent(this.#keys, this.#filter),
  );
  #status = new Status({
    onSay: (text) => this.#announcer.say(text),
    onConnect: () => this.#connection.again(),
    onTry: () => this.#connection.wake(),
  });
  #ends = new Ends({
    onNewest: () => this.#goLive(),
    onRetry: () => this.#loadOlder(),
    onInsert: () => this.#insertBox.open(),
    onClear: () => this.#go(new Filter()),
  });
  #list = new List({
    scroller: this.#scroller,
    feed: find("feed", HTMLElement),
    rows: find("rows", HTMLElement),
    tail: find("tail", HTMLElement),
    log: this.#log,
    look: this.#look,
    now: () => Date.now() - this.#lag.skew,
    repaint: () => this.#painter.request(),
    onOpen: ({ entry }) => entry && this.#details.show(entry),
    onTerm: (term) => this.#toggle(term),
  });

  /** Begin. */
  start() {
    this.#nameTab();
    this.#listen();
    this.#listenToKeys();
    setInterval(() => this.#tick(), SECOND);
  }

  // What comes.

  /** @param {import("/streamd.js").Info} info */
  #introduce(info) {
    this.#facts.setServer(info);
    const keys = readKeys(info.keys, info.paths);
    if (JSON.stringify(keys) === JSON.stringify(this.#keys)) return;
    this.#keys = keys;
    const names = keys.map(({ name }) => name);
    this.#look.setKeys(keys);
    this.#bar.setKeys(names);
    this.#count(names.includes("kind") ? "kind" : names[0]);
    this.#countsView.setKeys(names, this.#counts.key?.name ?? "");
    this.#list.refresh();
  }

  /** @param {Entry} entry */
  #noted(entry) {
    this.#rates.note(performance.now());
    this.#lag.note(Date.now(), entry.time);
    this.#painter.request();
  }

  async #loadOlder() {
    this.#list.follow(await this.#connection.stream.loadOlder());
  }

  // What is looked for.

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
    this.#rates.reset(performance.now());
    this.#told = 0;
    this.#bar.show(filter);
    this.#details.refresh();
    this.#nameTab();
    this.#goLive();
    this.#connection.follow(filter);
    this.#countsView.paint(filter);
  }

  #nameTab() {
    const sentence = brief(this.#filter.toString(), 60);
    document.title = sentence ? `${sentence} – streamd` : "streamd";
  }

  // What is to be seen.

  #paint() {
    const { stream } = this.#connection;
    // Asked before anything changes: after that the browser would have to lay out all at once.
    const { isScrolled } = this.#list;
    const held = this.#paused || isScrolled || this.#list.reading;
    if (held && !this.#log.held) this.#log.hold();
    if (!held && this.#log.held) this.#log.release();
    if (stream.wantsOlder && this.#list.isNearEnd) this.#loadOlder();
    this.#list.paint();
    const isOver = this.#connection.stopped !== null;
    this.#ends.paint(this.#log, stream, this.#filter, { isScrolled, isOver });
    this.#tokenForm.offer(this.#connection.mayTakeToken);
    this.#bar.complain(isOver ? null : (stream.error?.message ?? null));
    setText(this.#pauseButton, this.#paused ? "Resume" : "Pause");
    this.#pauseButton.classList.toggle("main", this.#paused);
    this.#paintStatus();
  }

  #paintStatus() {
    this.#status.paint(this.#connection.situation(this.#paused), Date.now());
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
    if (this.#ticks % PING_SECONDS === 0) this.#connection.ping();
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

  /** @param {number} number of the item to go to */
  #goTo(number) {
    this.#list.goTo(number);
    const entry = this.#list.active?.entry;
    if (entry && this.#details.open) this.#details.show(entry);
  }

  #open() {
    const entry = this.#list.active?.entry;
    if (entry) this.#details.show(entry);
  }

  #leave() {
    if (this.#details.open) this.#details.close();
    else if (this.#list.reading) this.#list.leave();
    else this.#goLive();
  }

  #toNewest() {
    if (this.#log.held && !this.#paused) this.#log.release();
    this.#goTo(this.#log.newest);
  }

  #listen() {
    const figures = find("figures-toggle", HTMLButtonElement);
    this.#pauseButton.addEventListener("click", () => this.#pause());
    find("insert-open", HTMLButtonElement).addEventListener("click", () => this.#insertBox.open());
    find("help-open", HTMLButtonElement).addEventListener("click", () => this.#help.showModal());
    find("help-close", HTMLButtonElement).addEventListener("click", () => this.#help.close());
    figures.addEventListener("click", () => {
      figures.ariaExpanded = String(document.body.classList.toggle("with-figures"));
    });
    this.#details.chips.addEventListener("click", ({ target }) => {
      const term = clickedTerm(target);
      if (term) this.#toggle(term);
    });
    addEventListener("popstate", () => {
      const filter = Filter.fromHash(location.hash);
      if (filter.toHash() !== this.#filter.toHash()) this.#apply(filter);
    });
    document.addEventListener("visibilitychange", () => this.#painter.request());
  }

  get #help() {
    return find("help", HTMLDialogElement);
  }

  #listenToKeys() {
    const actions = {
      move: (/** @type {number} */ by) => this.#goTo(this.#list.next(by)),
      turn: (/** @type {number} */ by) => this.#goTo(this.#list.next(by * this.#list.pageLength)),
      toNewest: () => this.#toNewest(),
      toOldest: () => this.#goTo(this.#log.oldest),
      open: () => this.#open(),
      leave: () => this.#leave(),
      pause: () => this.#pause(),
      filter: () => this.#bar.focus(),
      insert: () => this.#insertBox.open(),
      help: () => this.#help.showModal(),
    };
    listenToKeys(actions, this.#scroller);
  }
}

new Dashboard().start();
