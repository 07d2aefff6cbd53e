/** Draws candles, volume and moving averages; the only user of Lightweight Charts. */

import {
  CandlestickSeries,
  CrosshairMode,
  createChart,
  createTextWatermark,
  HistogramSeries,
  LineSeries,
  LineStyle,
} from "../../vendor/lightweight-charts/lightweight-charts.js";
import { movingAverages } from "./candles.js";

/** The lengths of the averages, as Chinese charts have them. */
export const AVERAGES = [5, 10, 20];
// Distinguishes the lines without colour.
const LINE_STYLES = [LineStyle.Solid, LineStyle.Dashed, LineStyle.Dotted];
/** More changed candles than this are drawn with all others at once, fewer one by one. */
export const MAX_UPDATES = 20;
const VOLUME_SHARE = 0.25;
const PAGE_STEP = 10;
// The shape says what the colour does: a rising candle is hollow.
const COLOURS = { green: ["--good", "--bad"], red: ["--bad", "--good"] };
const HIGHLIGHT_SCALE = "highlight";

export class MarketChart {
  /**
   * `language` is the page's; `onCrosshair` is called when the crosshair has moved.
   */
  constructor(element, { language, onCrosshair }) {
    this.element = element;
    this.candles = [];
    this.drawn = 0; // how many candles the chart has
    this.at = null; // the time of the candle under the crosshair
    this.rising = "green";
    this.precision = 2;
    this.note = ""; // written across the chart
    this.highlighted = null; // `[from, to]` in seconds
    const clock = { hourCycle: "h23" };
    this.time = new Intl.DateTimeFormat(language, { timeStyle: "medium", ...clock });
    this.minute = new Intl.DateTimeFormat(language, { timeStyle: "short", ...clock });
    this.day = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
    this.makeSeries();
    this.onCrosshair = onCrosshair;
    this.chart.subscribeCrosshairMove(({ time }) => this.setCrosshair(time ?? null));
    element.addEventListener("keydown", (event) => this.handleKey(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
      this.paint(),
    );
    this.paint();
  }

  makeSeries() {
    this.chart = createChart(this.element, {
      autoSize: true,
      // Its logo brings a <style>, which the Content-Security-Policy forbids: the page has
      // the link in words.
      layout: { attributionLogo: false, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Magnet },
      handleScroll: { vertTouchDrag: false }, // a finger scrolls the page
      timeScale: {
        timeVisible: true,
        secondsVisible: true,
        rightOffset: 4,
        barSpacing: 8,
        minBarSpacing: 0.1,
        tickMarkFormatter: (time, kind) => this.tick(time, kind),
      },
      localization: { timeFormatter: (time) => this.time.format(time * 1000) },
    });
    this.highlight = this.chart.addSeries(HistogramSeries, {
      priceScaleId: HIGHLIGHT_SCALE,
      priceLineVisible: false,
      lastValueVisible: false,
    });
    this.chart
      .priceScale(HIGHLIGHT_SCALE)
      .applyOptions({ scaleMargins: { top: 0, bottom: 0 } });
    this.prices = this.chart.addSeries(CandlestickSeries);
    this.averages = LINE_STYLES.map((lineStyle) =>
      this.chart.addSeries(LineSeries, {
        lineStyle,
        lineWidth: 1,
        priceLineVisible: false,
        lastValueVisible: false,
        crosshairMarkerVisible: false,
      }),
    );
    this.volumes = this.chart.addSeries(
      HistogramSeries,
      {
        priceFormat: { type: "volume" },
        priceLineVisible: false,
        lastValueVisible: false,
      },
      1,
    );
    const [above, below] = this.chart.panes();
    this.watermark = createTextWatermark(above, { vertAlign: "top", lines: [] });
    above.setStretchFactor(1 - VOLUME_SHARE);
    below.setStretchFactor(VOLUME_SHARE);
  }

  /** Return the label of a place on the axis of time; kinds 0 to 2 are days and longer. */
  tick(time, kind) {
    if (kind <= 2) return this.day.format(time * 1000);
    return (kind === 3 ? this.minute : this.time).format(time * 1000);
  }

  // --- colours --------------------------------------------------------------------------

  /** Choose the colour of rising candles, "green" or "red". */
  setRising(rising) {
    this.rising = rising;
    this.paint();
  }

  /** Take the colours from the page's custom properties. */
  paint() {
    const style = getComputedStyle(this.element);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [up, down] = COLOURS[this.rising].map(colour);
    this.colours = { up, down, highlight: colour("--highlight") };
    const line = { color: colour("--hairline") };
    const edge = { borderColor: colour("--hairline") };
    const label = {
      color: colour("--edge"),
      labelBackgroundColor: colour("--ink-soft"),
    };
    this.chart.applyOptions({
      layout: {
        background: { color: colour("--panel") },
        textColor: colour("--ink-soft"),
        fontFamily: colour("--wire"),
        panes: { separatorColor: colour("--hairline") },
      },
      grid: { vertLines: line, horzLines: line },
      crosshair: { vertLine: label, horzLine: label },
      rightPriceScale: edge,
      timeScale: edge,
    });
    this.prices.applyOptions({
      upColor: colour("--panel"),
      downColor: down,
      borderUpColor: up,
      borderDownColor: down,
      wickUpColor: up,
      wickDownColor: down,
      priceLineColor: colour("--ink-soft"),
    });
    this.averages.forEach((series, index) => {
      series.applyOptions({ color: colour(`--average-${index + 1}`) });
    });
    this.drawNote();
    this.drawAll();
  }

  /** Write a text across the chart, so that a picture of it has it too. */
  setNote(note) {
    if (note === this.note) return;
    this.note = note;
    this.drawNote();
  }

  drawNote() {
    const style = getComputedStyle(this.element);
    const [color, fontFamily] = ["--edge", "--prose"].map((name) =>
      style.getPropertyValue(name).trim(),
    );
    const line = { text: this.note, color, fontFamily, fontSize: 16 };
    this.watermark.applyOptions({ lines: [line] });
  }

  /** Set how many digits prices have after the point. */
  setPrecision(precision) {
    if (precision === this.precision) return;
    this.precision = precision;
    const priceFormat = { type: "price", precision, minMove: 10 ** -precision };
    for (const series of [this.prices, ...this.averages]) {
      series.applyOptions({ priceFormat });
    }
  }

  // --- data -----------------------------------------------------------------------------

  /** Show other candles, a list that others add to, up to the last one. */
  show(candles) {
    this.candles = candles;
    this.removeCrosshair();
    this.drawAll();
    this.chart.timeScale().scrollToRealTime();
  }

  /** Draw the candles from an index on. */
  draw(from) {
    const isTail = from >= this.drawn - 1 && this.candles.length - from <= MAX_UPDATES;
    if (!isTail || this.drawn === 0) return this.drawAll();
    for (const candle of this.candles.slice(from)) {
      this.prices.update(candle);
      this.volumes.update(this.volume(candle));
    }
    this.averages.forEach((series, index) => {
      for (const average of movingAverages(this.candles, AVERAGES[index], from)) {
        series.update(average);
      }
    });
    this.drawn = this.candles.length;
  }

  drawAll() {
    this.prices.setData(this.candles);
    this.volumes.setData(this.candles.map((candle) => this.volume(candle)));
    this.averages.forEach((series, index) => {
      series.setData(movingAverages(this.candles, AVERAGES[index]));
    });
    this.drawHighlight();
    this.drawn = this.candles.length;
  }

  volume({ time, volume, open, close }) {
    const { up, down } = this.colours;
    return { time, value: volume, color: close < open ? down : up };
  }

  /** Highlight the candles between two times in seconds; null: none. */
  setHighlight(range) {
    this.highlighted = range;
    this.drawHighlight();
  }

  drawHighlight() {
    const [from, to] = this.highlighted ?? [Infinity, -Infinity];
    this.highlight.setData(
      this.candles
        .filter(({ time }) => from <= time && time <= to)
        .map(({ time }) => ({ time, value: 1, color: this.colours.highlight })),
    );
  }

  // --- the crosshair --------------------------------------------------------------------

  /** Move the crosshair with the keyboard. */
  handleKey(event) {
    const last = this.candles.length - 1;
    const current = this.position ?? last + (event.key === "ArrowLeft" ? 1 : 0);
    const target = {
      ArrowLeft: current - 1,
      ArrowRight: current + 1,
      PageUp: current - PAGE_STEP,
      PageDown: current + PAGE_STEP,
      Home: 0,
      End: last,
    }[event.key];
    if (event.key === "Escape") return this.removeCrosshair();
    if (target === undefined || last < 0) return;
    event.preventDefault();
    this.moveTo(Math.min(Math.max(target, 0), last));
  }

  moveTo(index) {
    const { time, close } = this.candles[index];
    const scale = this.chart.timeScale();
    const { from, to } = scale.getVisibleLogicalRange();
    const offset = Math.min(index - from, 0) || Math.max(index - to, 0);
    if (offset) scale.setVisibleLogicalRange({ from: from + offset, to: to + offset });
    this.chart.setCrosshairPosition(close, time, this.prices);
    this.setCrosshair(time); // the chart tells of the mouse only
    this.element.dispatchEvent(new CustomEvent("moved", { detail: index }));
  }

  removeCrosshair() {
    this.chart.clearCrosshairPosition();
    this.setCrosshair(null);
  }

  setCrosshair(time) {
    this.at = time;
    this.onCrosshair();
  }

  /** The index of the candle under the crosshair, or null. */
  get position() {
    if (this.at === null) return null;
    let low = 0;
    let high = this.candles.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.candles[middle].time < this.at) low = middle + 1;
      else high = middle;
    }
    return low < this.candles.length ? low : null;
  }
}
