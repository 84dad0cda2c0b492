/** The box to insert a test event. */

import { find } from "./dom.js";
import { readEvent } from "./json.js";
import { brief } from "./text.js";

/** @typedef {{cursor: string, duplicate: boolean}} Inserted */

/** The box. */
export class InsertBox {
  #dialog = find("insert", HTMLDialogElement);
  #text = find("insert-json", HTMLTextAreaElement);
  #fault = find("insert-fault", HTMLElement);
  #result = find("insert-result", HTMLElement);
  #send = find("insert-send", HTMLButtonElement);
  #insert;
  #whyNot;
  #makeExample;
  /** The example that was written last: what the reader has written is left to him. */
  #example = "";
  #sending = false;

  /**
   * @param {(event: Record<string, unknown>) => Promise<Inserted>} insert
   * @param {(cursor: string) => Promise<string>} whyNot tells why an entry is not in the list
   * @param {() => string} makeExample called for an event to begin with, as JSON
   */
  constructor(insert, whyNot, makeExample) {
    this.#insert = insert;
    this.#whyNot = whyNot;
    this.#makeExample = makeExample;
    find("insert-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    find("insert-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#check());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#submit();
    });
  }

  /** Open the box, with an example unless something else is written there. */
  open() {
    if (this.#text.value === this.#example) {
      this.#example = this.#makeExample();
      this.#text.value = this.#example;
    }
    this.#say("");
    this.#check();
    this.#dialog.showModal();
    this.#text.focus();
  }

  #check() {
    const { event, fault } = readEvent(this.#text.value);
    this.#fault.textContent = fault === null ? "This is an event" : brief(fault, 200);
    this.#fault.classList.toggle("bad", fault !== null);
    this.#text.setAttribute("aria-invalid", String(fault !== null));
    this.#send.disabled = fault !== null || this.#sending;
    return event;
  }

  async #submit() {
    const event = this.#check();
    if (!event || this.#sending) return;
    this.#sending = true;
    this.#send.disabled = true;
    this.#say("Inserting…");
    try {
      const { cursor, duplicate } = await this.#insert(event);
      const done = duplicate ? "It was there already" : "Inserted";
      const why = await this.#whyNot(cursor);
      const not = why ? `. It is not in this list: ${brief(why, 200)}` : "";
      this.#say(`${done}, at the place ${brief(cursor, 64)}${not}`);
    } catch (error) {
      this.#say(brief(error instanceof Error ? error.message : String(error), 400), true);
    } finally {
      this.#sending = false;
      this.#check();
    }
  }

  /**
   * @param {string} text
   * @param {boolean} [bad]
   */
  #say(text, bad = false) {
    this.#result.textContent = text;
    this.#result.classList.toggle("bad", bad);
  }
}
