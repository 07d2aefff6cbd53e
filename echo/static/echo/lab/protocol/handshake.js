/** The experiment "The handshake": the answer to a key, and requests that break a rule. */

import { post } from "../post.js";
import { sectionLinks } from "../sections.js";
import { loadSettings, saveSettings } from "../settings.js";
import { acceptSteps, keyProblem, randomKey } from "./accept.js";
import { explainRequest, explainResponse } from "./headlines.js";

const OWN = "own"; // the choice of a request that the visitor has edited
const SHOWN = 1000; // characters of a body

/** Connect the section's controls; `text` gives the page's texts. */
export function connectHandshake(section, text) {
  const form = section.querySelector("#handshake-key-form");
  const key = form.elements.handshake_key;
  const editor = new RequestEditor(section, text, () => key.value);
  loadSettings(form);
  connectKey(form, text, () => editor.keyChanged());
  editor.start();
}

/** Show each step from the key to the answer while the key is typed. */
function connectKey(form, text, changed) {
  const key = form.elements.handshake_key;
  const problem = form.querySelector("#handshake-key-problem");
  const show = () => {
    const wrong = keyProblem(key.value);
    problem.textContent = wrong ? text(...wrong) : "";
    key.setAttribute("aria-invalid", String(Boolean(wrong)));
    const steps = wrong ? {} : acceptSteps(key.value);
    for (const output of form.querySelectorAll("output[data-step]")) {
      output.textContent = steps[output.dataset.step] ?? "–";
    }
  };
  const change = () => {
    show();
    saveSettings(form);
    changed();
  };
  key.addEventListener("input", change);
  form.querySelector("#handshake-random").addEventListener("click", () => {
    key.value = randomKey();
    change();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}

/** A request whose lines can be changed and dropped, and the server's answer to it. */
class RequestEditor {
  constructor(section, text, currentKey) {
    this.text = text;
    this.currentKey = currentKey; // returns the key of the other form
    this.form = section.querySelector("#handshake-form");
    this.choice = this.form.elements.handshake; // which ready-made request, or OWN
    this.own = this.form.elements.handshake_request; // the edited request; else empty
    this.lines = section.querySelector("#handshake-lines");
    this.answer = section.querySelector("#handshake-answer");
    this.verdict = section.querySelector("#handshake-verdict");
    this.reason = section.querySelector("#handshake-reason");
    this.meaning = section.querySelector("#handshake-meaning");
    this.sending = null; // aborts the request that is under way
  }

  /** Show the request that the address names, and listen. */
  start() {
    loadSettings(this.form);
    if (this.choice.value === OWN && !this.own.value) this.choice.selectedIndex = 0;
    this.show(this.choice.value === OWN ? this.own.value : this.example());
    this.choice.addEventListener("change", () => this.choose());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.form.querySelector("#handshake-add").addEventListener("click", () => {
      this.addLine("").querySelector("input").focus();
      this.edited();
    });
  }

  /** Return the ready-made request that is chosen, with this page's host, origin and key. */
  example() {
    const { request = "" } = this.choice.selectedOptions[0].dataset;
    return request
      .replace("{host}", location.host)
      .replace("{origin}", location.origin)
      .replace("{key}", this.currentKey());
  }

  choose() {
    if (this.choice.value === OWN) {
      this.edited();
      return;
    }
    this.own.value = "";
    saveSettings(this.form);
    this.show(this.example());
  }

  /** Take the other form's key over into a ready-made request. */
  keyChanged() {
    if (this.choice.value !== OWN) this.show(this.example());
  }

  /** Note that the visitor has changed the request. */
  edited() {
    this.choice.value = OWN;
    this.own.value = this.request();
    saveSettings(this.form);
  }

  request() {
    return [...this.lines.querySelectorAll("input")]
      .map(({ value }) => value)
      .join("\n");
  }

  show(request) {
    this.lines.replaceChildren();
    for (const line of request.split("\n")) this.addLine(line);
  }

  addLine(line) {
    const row = this.form
      .querySelector("#handshake-line")
      .content.cloneNode(true).firstElementChild;
    const [input, drop] = row.children;
    input.value = line;
    const explain = () => {
      const index = [...this.lines.children].indexOf(row);
      this.explain(explainRequest(input.value, index));
    };
    input.addEventListener("focus", explain);
    row.addEventListener("pointerenter", explain);
    input.addEventListener("input", () => {
      explain();
      this.edited();
    });
    drop.addEventListener("click", () => this.drop(row));
    this.lines.append(row);
    return row;
  }

  drop(row) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    next?.querySelector("button").focus();
    this.edited();
  }

  explain({ key, sections }) {
    const links = sectionLinks(sections, this.text);
    this.meaning.replaceChildren(this.text(key), ...links);
  }

  async send() {
    this.sending?.abort();
    const sending = new AbortController();
    this.sending = sending;
    this.verdict.textContent = this.text("handshake_sending");
    this.reason.replaceChildren();
    this.answer.replaceChildren();
    const settings = { request: this.request() };
    try {
      const answer = await post(this.form.action, settings, sending);
      if (this.sending === sending) this.showAnswer(answer);
    } catch (error) {
      if (this.sending === sending) this.showProblem(error);
    }
  }

  showProblem(error) {
    this.verdict.dataset.outcome = "refused";
    this.verdict.textContent = error.message;
  }

  showAnswer({ status, head, body, ending, rule }) {
    const lines = head.split("\r\n").filter(Boolean);
    this.verdict.dataset.outcome = status === 101 ? "accepted" : "refused";
    this.verdict.textContent = status
      ? this.text(status === 101 ? "handshake_accepted" : "handshake_refused", {
          status: lines[0].replace(/^HTTP\/1\.1 /, ""),
        })
      : this.text(`handshake_${ending}`);
    this.reason.replaceChildren(...this.reasonFor(status, rule));
    this.answer.replaceChildren(
      ...lines.map((line, index) => this.answerLine(line, index)),
    );
    if (body) this.answer.append(this.bodyLine(body));
  }

  reasonFor(status, rule) {
    if (rule) return [rule.reason, ...sectionLinks(rule.sections, this.text)];
    if (status === 101) return [this.text("handshake_open")];
    return [];
  }

  answerLine(line, index) {
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = line;
    const explain = () => this.explain(explainResponse(line, index));
    for (const event of ["focus", "click", "pointerenter"]) {
      button.addEventListener(event, explain);
    }
    row.append(button);
    return row;
  }

  bodyLine(body) {
    const row = document.createElement("li");
    row.className = "body";
    row.textContent = body.length > SHOWN ? `${body.slice(0, SHOWN)}…` : body;
    return row;
  }
}
