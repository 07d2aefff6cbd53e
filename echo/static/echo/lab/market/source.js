/** The section that says where trades come from, and starts a market for visitors. */

import { post } from "../post.js";
import { loadSettings, saveSettings } from "../settings.js";

// A market that is to run and has no trade for so long has ended with its node.
const SILENT_MS = 15_000;
// Trades that are not the visitors' market's come from somewhere if the last is so young.
const RECENT_MS = 5000;

export class Source {
  until = null; // when the market for visitors ends, in ms of the server's clock
  tradedAt = -Infinity; // when the last trade was published, by the server's clock
  startedAt = -Infinity; // when a market was last announced, by the server's clock

  /**
   * `start` is what the page's template has: the server's time, and the market's end.
   * `onStart` is called with the symbols of a market for which this visitor has asked.
   */
  constructor(section, { text, format, start, onStart }) {
    this.onStart = onStart;
    this.section = section;
    this.text = text;
    this.format = format;
    // How far the server's clock is ahead, which it read just before it responded.
    const [{ responseStart }] = performance.getEntriesByType("navigation");
    this.serverAhead = Date.parse(start.now) - performance.timeOrigin - responseStart;
    this.knownAt = start.now;
    this.form = section.querySelector("form");
    this.setEnd(start.until);
    if (this.form) this.connectForm();
    setInterval(() => this.show(), 1000);
  }

  connectForm() {
    loadSettings(this.form);
    this.form.addEventListener("change", () => saveSettings(this.form));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
  }

  /** Ask the server to start a market. */
  async start() {
    const { action, elements } = this.form;
    const [rate, volatility] = ["rate", "volatility"].map((name) =>
      Number(elements[name].value),
    );
    this.problem("");
    try {
      const settings = { rate, volatility };
      const { until, started, symbols } = await post(action, settings);
      this.setEnd(until);
      this.onStart(symbols);
      if (!started) this.problem(this.text("not_started"));
    } catch (error) {
      this.problem(error.message || this.text("unreachable"));
    }
  }

  problem(text) {
    this.section.querySelector(".problem").textContent = text;
  }

  /** Take a notice of the server: a market has started, or ended. */
  receive({ until, sentAt }) {
    if (sentAt > this.knownAt) this.setEnd(until);
  }

  setEnd(until) {
    this.until = until && Date.parse(until);
    this.startedAt = this.now;
    this.show();
  }

  /** Record when a trade was published. */
  handleTrade({ sentAt }) {
    this.tradedAt = Math.max(this.tradedAt, Date.parse(sentAt));
  }

  /** The server's time in ms. */
  get now() {
    return Date.now() + this.serverAhead;
  }

  get state() {
    const silentFor = this.now - Math.max(this.tradedAt, this.startedAt);
    if (this.until > this.now && silentFor < SILENT_MS) return "visitors";
    return this.now - this.tradedAt < RECENT_MS ? "trading" : "none";
  }

  show() {
    const { state } = this;
    if (this.form) this.form.querySelector("button").disabled = state !== "none";
    const seconds = Math.max(0, Math.round((this.until - this.now) / 1000));
    const left = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    const status = this.section.querySelector(".source-status");
    status.textContent = this.text(`source_${state}`, {
      until: this.until ? this.format.time(this.until) : "",
      left,
    });
    this.section.dataset.state = state;
  }
}
