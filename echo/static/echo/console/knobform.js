/**
 * The knob form: reads and writes the fields, keeps the page's address, asks the
 * server.
 */

import {
  fromPageQuery,
  knobAtFault,
  knobQuery,
  offeredProtocols,
  pageQuery,
  protocolsProblem,
} from "./address.js";
import { ask, isSelected } from "./refusal.js";

// Long enough that typing does not ask once for each key.
const DEBOUNCE_MS = 300;

export class KnobForm {
  /** `changed` is called with nothing after every change. */
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
    this.restore(location.search);
    root.addEventListener("input", ({ target }) => this.edited(target));
    root.querySelector("#reset-knobs").addEventListener("click", () => this.reset());
  }

  /** The values by name, in the form's order; an empty one is not asked for. */
  get values() {
    return new Map([...this.fields].map(([name, field]) => [name, fieldValue(field)]));
  }

  /** The query string for `/echo`. */
  get query() {
    return knobQuery(this.values);
  }

  get offered() {
    return offeredProtocols(this.protocols.value);
  }

  /** True when the browser would take the subprotocols that are offered. */
  get isAcceptable() {
    return protocolsProblem(this.offered) === null;
  }

  restore(search) {
    const { knobs, protocols, leftOut } = fromPageQuery(search, [
      ...this.fields.keys(),
    ]);
    for (const [name, value] of knobs) setFieldValue(this.fields.get(name), value);
    this.protocols.value = protocols;
    this.root.open = search.length > 1;
    this.summarize();
    this.showProtocolsProblem();
    this.root.querySelector("#left-out").textContent = leftOut.length
      ? this.text("left_out", { names: leftOut.join(", ") })
      : "";
    this.validate();
  }

  reset() {
    for (const field of this.fields.values()) setFieldValue(field, "");
    this.protocols.value = "";
    this.edited(null);
  }

  edited(target) {
    if (target === this.protocols) this.followProtocols();
    const query = pageQuery(this.values, this.protocols.value);
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    this.summarize();
    this.showProtocolsProblem();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.validate(), DEBOUNCE_MS);
    this.changed();
  }

  /**
   * A browser that offers subprotocols needs one of them selected: `*` selects the
   * first.
   */
  followProtocols() {
    const knob = this.fields.get("subprotocol");
    if (this.offered.length && !knob.value) knob.value = "*";
    if (!this.offered.length && knob.value === "*") knob.value = "";
  }

  summarize() {
    const set = [...this.values].filter(([, value]) => value);
    const words = set.map(([name, value]) => `${name}=${value}`);
    const offers = this.offered.length ? [`→ ${this.offered.join(", ")}`] : [];
    this.root.querySelector("#knobs-summary").textContent =
      [...offers, ...words].join("  ") || this.text("knobs_none");
  }

  showProtocolsProblem() {
    const problem = protocolsProblem(this.offered) ?? this.unselected();
    this.protocols.setAttribute("aria-invalid", String(problem !== null));
    this.root.querySelector("#protocols-problem").textContent = problem
      ? this.text(problem.key, problem.values)
      : "";
  }

  unselected() {
    if (!this.offered.length) return null;
    const knob = this.fields.get("subprotocol").value;
    return isSelected(knob, this.offered) ? null : { key: "unselected_protocol" };
  }

  /** Shows what the server says of the knobs, beside the one it speaks of. */
  async validate() {
    this.asking?.abort();
    this.asking = new AbortController();
    try {
      // With no knob there is nothing to judge.
      const answer = this.query
        ? await ask(`/echo?${this.query}`, this.asking.signal)
        : null;
      this.say(answer?.status === 400 ? answer.body.detail : "");
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }

  say(detail) {
    const atFault = knobAtFault(detail, [...this.fields.keys()]);
    for (const [name, field] of this.fields) {
      field.setAttribute("aria-invalid", String(name === atFault));
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
