/**
 * The knob form: reads and writes the fields, keeps the page's URL up to date, and has
 * the server validate the knobs.
 */

import { debounce } from "../site/schedule.js";
import {
  invalidKnob,
  knobQuery,
  pageQuery,
  parsePageQuery,
  parseProtocols,
  protocolsProblem,
} from "./address.js";
import { fetchSettings, isSelected } from "./refusal.js";

// Long enough that typing does not send a request for each key.
const DEBOUNCE_MS = 300;

export class KnobForm {
  /** `changed()` is called after every change. */
  constructor(root, text, changed) {
    this.root = root;
    this.text = text;
    this.changed = changed;
    this.fields = new Map(
      [...root.querySelectorAll("[data-knob]")].map((field) => [
        field.dataset.knob,
        field,
      ]),
    );
    this.protocols = root.querySelector("#protocols");
    this.scheduleValidation = debounce(() => this.validate(), DEBOUNCE_MS);
    this.restore(location.search);
    root.addEventListener("input", ({ target }) => this.handleInput(target));
    root.querySelector("#reset-knobs").addEventListener("click", () => this.reset());
  }

  /** The values by name, in the form's order; an empty one is the default. */
  get values() {
    return new Map([...this.fields].map(([name, field]) => [name, fieldValue(field)]));
  }

  /** The query string for `/echo`. */
  get query() {
    return knobQuery(this.values);
  }

  /** The subprotocols to offer. */
  get offered() {
    return parseProtocols(this.protocols.value);
  }

  /** True if the browser accepts the subprotocols to offer. */
  get isValid() {
    return protocolsProblem(this.offered) === null;
  }

  /** Fill the form from the page's query string. */
  restore(search) {
    const names = [...this.fields.keys()];
    const { knobs, protocols, ignored } = parsePageQuery(search, names);
    for (const [name, value] of knobs) setFieldValue(this.fields.get(name), value);
    this.protocols.value = protocols;
    this.root.open = search.length > 1;
    this.summarize();
    this.showProtocolsProblem();
    this.root.querySelector("#ignored").textContent = ignored.length
      ? this.text("ignored", { names: ignored.join(", ") })
      : "";
    this.validate();
  }

  reset() {
    for (const field of this.fields.values()) setFieldValue(field, "");
    this.protocols.value = "";
    this.handleInput(null);
  }

  handleInput(target) {
    if (target === this.protocols) this.adjustSubprotocolKnob();
    const query = pageQuery(this.values, this.protocols.value);
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    this.summarize();
    this.showProtocolsProblem();
    this.scheduleValidation();
    this.changed();
  }

  /** Select the first of the offered subprotocols by default: browsers need one. */
  adjustSubprotocolKnob() {
    const knob = this.fields.get("subprotocol");
    if (this.offered.length && !knob.value) knob.value = "*";
    if (!this.offered.length && knob.value === "*") knob.value = "";
  }

  summarize() {
    const knobs = [...this.values]
      .filter(([, value]) => value)
      .map(([name, value]) => `${name}=${value}`);
    const offers = this.offered.length ? [`→ ${this.offered.join(", ")}`] : [];
    this.root.querySelector("#knobs-summary").textContent =
      [...offers, ...knobs].join("  ") || this.text("knobs_none");
  }

  showProtocolsProblem() {
    const problem = protocolsProblem(this.offered) ?? this.selectionProblem();
    this.protocols.setAttribute("aria-invalid", String(problem !== null));
    this.root.querySelector("#protocols-problem").textContent = problem
      ? this.text(problem.key, problem.values)
      : "";
  }

  selectionProblem() {
    if (!this.offered.length) return null;
    const knob = this.fields.get("subprotocol").value;
    return isSelected(knob, this.offered) ? null : { key: "unselected_protocol" };
  }

  /** Have the server validate the knobs; show its reason, and mark the invalid one. */
  async validate() {
    this.validation?.abort();
    this.validation = new AbortController();
    const { signal } = this.validation;
    try {
      const response = this.query // no knobs are always valid
        ? await fetchSettings(`/echo?${this.query}`, signal)
        : null;
      this.showInvalid(response?.status === 400 ? response.body.detail : "");
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }

  /** `detail` is the server's reason, or empty. */
  showInvalid(detail) {
    const invalid = invalidKnob(detail, [...this.fields.keys()]);
    for (const [name, field] of this.fields) {
      field.setAttribute("aria-invalid", String(name === invalid));
    }
    this.root.querySelector("#knobs-problem").textContent = detail;
  }
}

function fieldValue(field) {
  if (field.type === "checkbox") return field.checked ? field.value : "";
  return field.value.trim();
}

function setFieldValue(field, value) {
  if (field.type === "checkbox") field.checked = value === field.value;
  else field.value = value;
}
