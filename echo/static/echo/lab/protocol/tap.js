/** The experiment "Your own connection, tapped": an echo, and a viewer with each of its frames. */

import { loadSettings, saveSettings } from "../settings.js";
import { element, kindOf, previewOf, renderFrame } from "./frameview.js";

/** Several processes without Redis: the echo has to reach the one that has the viewer. */
const MAX_ATTEMPTS = 16;
const LONG_SIZES = { 126: 126, 65536: 65536 };

/** Connect the section's controls; `text` gives the page's texts. */
export function connectTap(section, text) {
  new TapPage(section, text).connect();
}

const address = (path) => new URL(path, location.href.replace(/^http/, "ws")).href;

class TapPage {
  constructor(section, text) {
    this.section = section;
    this.text = text;
    this.find = (name) => section.querySelector(`[data-part="${name}"]`);
    this.viewer = null; // the WebSocket that gets the records
    this.echo = null; // the one that is tapped
    this.rows = 0;
  }

  connect() {
    this.section.addEventListener("click", ({ target }) => {
      const action = target.closest("[data-action]")?.dataset.action;
      if (action) this.act(action);
    });
    const form = this.section.querySelector("form");
    loadSettings(form);
    form.addEventListener("input", () => saveSettings(form));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.echo.send(this.message());
    });
    addEventListener("pagehide", () => this.leave());
    this.show("closed", this.text("tap_closed"));
  }

  act(action) {
    switch (action) {
      case "open":
        return this.open();
      case "close":
        return this.echo.close(1000, "done");
      case "binary":
        return this.echo.send(new TextEncoder().encode(this.message()));
      case "empty":
        return this.echo.send("");
      case "126":
      case "65536":
        return this.echo.send("x".repeat(LONG_SIZES[action]));
      case "server-ping":
        return this.ask({ command: "ping" });
      case "server-fragments":
        return this.ask({ command: "fragments" });
      case "server-close":
        return this.ask({ command: "close", code: 4000 });
      default:
        throw new TypeError(`expected an action, got ${action}`);
    }
  }

  message() {
    return this.section.querySelector("[name=tap_message]").value;
  }

  ask(command) {
    this.viewer.send(JSON.stringify(command));
  }

  show(state, status) {
    this.section.dataset.state = state;
    this.find("status").textContent = status;
    for (const button of this.section.querySelectorAll("[data-action]")) {
      const opens = button.dataset.action === "open";
      button.disabled = opens ? state !== "closed" : state !== "open";
    }
    this.section.querySelector("[type=submit]").disabled = state !== "open";
  }

  open() {
    this.show("opening", this.text("tap_opening"));
    for (const name of ["frames", "heads"]) this.find(name).replaceChildren();
    this.rows = 0;
    this.find("empty").hidden = true;
    this.ended = false;
    const viewer = new WebSocket(address(this.section.dataset.viewer));
    this.viewer = viewer;
    viewer.addEventListener("message", ({ data }) => this.receive(JSON.parse(data)));
    viewer.addEventListener("close", () => {
      if (viewer !== this.viewer) return;
      this.viewer = null;
      this.echo?.close();
      this.echo = null;
      if (!this.ended) this.show("closed", this.text("tap_lost"));
    });
  }

  /** Open the echo with the viewer's key; try again where it has not reached the viewer. */
  openEcho(key, attempt = 1) {
    const echo = new WebSocket(
      address(`${this.section.dataset.echo}?tap=${encodeURIComponent(key)}`),
    );
    echo.binaryType = "arraybuffer";
    let wasOpen = false;
    echo.addEventListener("open", () => {
      wasOpen = true;
      this.echo = echo;
      this.show("open", this.text("tap_open"));
    });
    echo.addEventListener("close", () => {
      if (!this.viewer) return;
      if (wasOpen) {
        if (!this.ended) this.show("closing", this.text("tap_closing"));
        return;
      }
      if (attempt < MAX_ATTEMPTS) this.openEcho(key, attempt + 1);
      else this.viewer.close();
    });
  }

  leave() {
    this.echo?.close();
    this.viewer?.close();
  }

  receive(message) {
    switch (message.type) {
      case "key":
        this.openEcho(message.key);
        break;
      case "lost":
        this.addNote(this.text("tap_gap", { batches: message.batches }));
        break;
      case "records":
        for (const record of message.records) this.addRecord(record);
        break;
      default:
        throw new TypeError(`expected a message of a viewer, got ${message.type}`);
    }
  }

  addRecord(record) {
    switch (record.type) {
      case "head":
        this.find("heads").append(this.head(record));
        break;
      case "frame":
        this.find("frames").append(this.row(record));
        break;
      case "end":
        this.end(record);
        break;
      default:
        throw new TypeError(`expected a record of a tap, got ${record.type}`);
    }
  }

  end({ reason, bytes }) {
    this.ended = true;
    this.show("closed", this.text(`tap_end_${reason}`, { bytes }));
    this.echo = null;
  }

  head({ sender, head }) {
    const lines = head.trimEnd().split("\r\n");
    const title = element(
      "h4",
      "",
      direction(sender, this.text),
      ` ${this.text(`tap_${sender}_head`)}`,
    );
    const items = lines.map((line) => {
      const name = /^[!-9;-~]+(?=:)/.exec(line)?.[0] ?? "";
      return element("li", "", element("b", "", name), line.slice(name.length));
    });
    return element("div", "tap-head", title, element("ol", "wire", ...items));
  }

  row({ sender, ms, frame }) {
    this.rows += 1;
    const summary = element(
      "summary",
      "",
      direction(sender, this.text),
      element("span", "kind", kindOf(frame, this.text)),
      element("span", "preview", previewOf(frame)),
      element(
        "span",
        "size",
        this.text("tap_size", { bytes: frame.length, wire: frame.size }),
      ),
      element("span", "time", this.text("tap_ms", { ms: ms.toFixed(1) })),
    );
    const details = element("details", "tap-frame", summary);
    details.addEventListener("toggle", () => {
      if (details.childElementCount === 1)
        details.append(renderFrame(frame, this.text));
    });
    const item = element("li", "", details);
    item.dataset.sender = sender;
    return item;
  }

  addNote(note) {
    this.find("frames").append(element("li", "tap-note", note));
  }
}

/** Return the mark of a direction, as on all pages: sent and received by this browser. */
function direction(sender, text) {
  const isSent = sender === "client";
  const mark = element("i", `mark ${isSent ? "sent" : "received"}`, isSent ? "→" : "←");
  mark.setAttribute("aria-hidden", "true");
  const word = element(
    "span",
    "visually-hidden",
    text(isSent ? "tap_sent" : "tap_received"),
  );
  const both = document.createDocumentFragment();
  both.append(mark, word, " ");
  return both;
}
