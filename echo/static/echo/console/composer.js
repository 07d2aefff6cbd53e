/** The message form: formats, files, history, saved messages, repeating. */

import { byteLength } from "../log/rows.js";
import { MessageHistory } from "./history.js";
import { encode, PayloadError } from "./payload.js";
import { load, save } from "./storage.js";

const HISTORY_KEY = "wsdemo.console.history";
const SAVED_KEY = "wsdemo.console.saved";
const MIN_INTERVAL_MS = 1;
const MAX_INTERVAL_MS = 3_600_000;

export class Composer {
  /** `kit` is `{text, limits, number}`; `send(message)` returns true if it was sent. */
  constructor(form, kit, send) {
    this.form = form;
    this.kit = kit;
    this.send = send;
    this.input = form.querySelector("#input"); // shown for every format but file
    this.file = form.querySelector("#file"); // shown for the format file
    this.history = new MessageHistory(load(HISTORY_KEY, []));
    this.saved = new Map(load(SAVED_KEY, [])); // entries of the history, by name
    this.repeating = null; // the timer that sends again and again
    this.listen();
    this.showFormat();
    this.showSaved();
  }

  get format() {
    return this.form.elements.format.value;
  }

  listen() {
    const on = (selector, type, listener) =>
      this.form.querySelector(selector).addEventListener(type, listener);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    on("#input", "keydown", (event) => this.handleKey(event));
    on("#input", "input", () => {
      this.history.leave();
      this.check();
    });
    on("#file", "change", () => this.check());
    on(".segments", "change", () => this.showFormat());
    on("#repeat", "click", () => (this.repeating ? this.stop() : this.repeat()));
    on("#interval", "input", () => this.stop());
    on("#save", "click", () => this.save());
    on("#save-name", "keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.save();
    });
  }

  handleKey(event) {
    // While an input method composes a word, Enter and the arrows are its own.
    if (event.isComposing) return;
    switch (event.key) {
      case "Enter":
        if (event.shiftKey) return;
        event.preventDefault();
        this.submit();
        return;
      case "ArrowUp":
        if (this.isOnFirstLine())
          this.recall(event, this.history.previous(this.draft()));
        return;
      case "ArrowDown":
        if (this.isOnLastLine()) this.recall(event, this.history.next());
        return;
      default:
        return;
    }
  }

  isOnFirstLine() {
    return !this.input.value.slice(0, this.input.selectionStart).includes("\n");
  }

  isOnLastLine() {
    return !this.input.value.slice(this.input.selectionEnd).includes("\n");
  }

  /** Return what is typed, as an entry of the history. */
  draft() {
    return { format: this.format, text: this.input.value };
  }

  recall(event, entry) {
    if (!entry) return;
    event.preventDefault();
    this.show(entry);
  }

  /** Put an entry into the form. */
  show({ format, text }) {
    this.form.elements.format.value = format;
    this.input.value = text;
    this.showFormat();
  }

  showFormat() {
    const isFile = this.format === "file";
    this.file.hidden = !isFile;
    this.input.hidden = isFile;
    this.check();
  }

  /** Return the form's message; throw PayloadError. */
  async message() {
    if (this.format !== "file") return encode(this.format, this.input.value);
    const [file] = this.file.files;
    if (!file) throw new PayloadError("no_file", {});
    return new Uint8Array(await file.arrayBuffer());
  }

  /** Show the problem with the form's message, if any; return the message or null. */
  async check(isSending = false) {
    try {
      const message = await this.message();
      this.showProblem(this.sizeProblem(byteLength(message)));
      return message;
    } catch (error) {
      if (!(error instanceof PayloadError)) throw error;
      // An empty file field is a problem only once Send is pressed.
      const isEarly = error.key === "no_file" && !isSending;
      this.showProblem(isEarly ? null : error);
      return null;
    }
  }

  sizeProblem(size) {
    const { number, limits } = this.kit;
    const cap = limits.maxMessageBytes;
    if (size <= cap) return null;
    return {
      key: "over_cap",
      values: { size: number.format(size), cap: number.format(cap) },
    };
  }

  showProblem(problem) {
    this.form.querySelector("#message-problem").textContent = problem
      ? this.kit.text(problem.key, problem.values)
      : "";
  }

  /** Send the form's message once, and add it to the history. */
  async submit() {
    const message = await this.check(true);
    if (message === null || !this.send(message)) return;
    if (this.format === "file") return;
    this.history.push(this.draft());
    save(HISTORY_KEY, this.history.entries);
  }

  /** Send the form's message now and then every interval, until stopped. */
  async repeat() {
    const interval = this.interval();
    if (interval === null) return;
    const message = await this.check(true);
    if (message === null || !this.send(message)) return;
    this.repeating = setInterval(() => this.send(message), interval);
    this.showRepeating();
  }

  /** Return the interval in milliseconds; show the problem and return null if bad. */
  interval() {
    const got = this.form.querySelector("#interval").value.trim();
    const value = Number(got);
    const isWhole = /^[0-9]+$/.test(got);
    if (isWhole && value >= MIN_INTERVAL_MS && value <= MAX_INTERVAL_MS) return value;
    const { format } = this.kit.number;
    this.showProblem({
      key: "bad_interval",
      values: {
        lowest: format(MIN_INTERVAL_MS),
        highest: format(MAX_INTERVAL_MS),
        got,
      },
    });
    return null;
  }

  /** Stop repeating; no-op if nothing repeats. */
  stop() {
    clearInterval(this.repeating);
    this.repeating = null;
    this.showRepeating();
  }

  showRepeating() {
    const button = this.form.querySelector("#repeat");
    button.setAttribute("aria-pressed", String(Boolean(this.repeating)));
  }

  save() {
    const field = this.form.querySelector("#save-name");
    const name = field.value.trim();
    if (!name || this.format === "file") return field.focus();
    field.value = "";
    this.saved.set(name, this.draft());
    this.storeSaved();
  }

  storeSaved() {
    save(SAVED_KEY, [...this.saved]);
    this.showSaved();
  }

  showSaved() {
    const items = [...this.saved].map(([name, entry]) => this.savedItem(name, entry));
    this.form.querySelector("#saved").replaceChildren(...items);
    this.form.querySelector("#saved-count").textContent = this.saved.size || "";
  }

  savedItem(name, entry) {
    const item = document.createElement("li");
    const use = button(name, () => this.show(entry));
    use.title = entry.text.slice(0, 200);
    const remove = button(this.kit.text("delete"), () => {
      this.saved.delete(name);
      this.storeSaved();
    });
    remove.setAttribute("aria-label", this.kit.text("delete_named", { name }));
    item.append(use, remove);
    return item;
  }
}

function button(label, listener) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "quiet";
  element.textContent = label;
  element.addEventListener("click", listener);
  return element;
}
