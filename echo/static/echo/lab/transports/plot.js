/**
 * Draws one lane: each event as a dot at the moment when it came, the higher the later it
 * was. Both scales are the same on all lanes; that of the delay is logarithmic, from 1 ms to
 * 10 s, with lines at 10 ms, 100 ms and 1 s.
 */

const SVG = "http://www.w3.org/2000/svg";
// Of the viewBox; the drawing stretches to its place, and its lines keep their width.
const WIDTH = 1000;
const HEIGHT = 100;
const DECADES = 4;
const LOST_HEIGHT = 14;

/** Return the height of a delay in the drawing, 0 for 1 ms and less. */
export function heightOf(milliseconds) {
  const decades = Math.log10(Math.max(1, milliseconds));
  return (Math.min(DECADES, decades) / DECADES) * HEIGHT;
}

export class Plot {
  constructor(svg) {
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.replaceChildren();
    this.band = add(svg, "rect", { class: "cut", height: HEIGHT, width: 0 });
    const lines = [1, 2, 3].map((decade) => {
      const y = HEIGHT - (decade / DECADES) * HEIGHT;
      return `M0 ${y}H${WIDTH}`;
    });
    add(svg, "path", { class: "grid", d: lines.join("") });
    this.lost = add(svg, "path", { class: "lost" });
    this.dots = add(svg, "path", { class: "dots" });
  }

  /**
   * Draw a race that began at `from` and shows the time up to `to`; `arrivals` are those of a
   * lane, `lost` the times at which lost events were due, `cut` is null or `[from, to]`.
   */
  draw({ from, to, arrivals, lost, cut }) {
    const x = (time) => (Math.max(0, time - from) / (to - from)) * WIDTH;
    const dots = [...arrivals.values()].map(
      // A line without length, whose round ends are the dot.
      ({ arrived, delay }) => `M${x(arrived)} ${HEIGHT - heightOf(delay)}h0`,
    );
    this.dots.setAttribute("d", dots.join(""));
    const ticks = lost.map((time) => `M${x(time)} ${HEIGHT}v-${LOST_HEIGHT}`);
    this.lost.setAttribute("d", ticks.join(""));
    const [start, end] = cut ? cut.map(x) : [0, 0];
    this.band.setAttribute("x", start);
    this.band.setAttribute("width", end - start);
  }
}

function add(svg, name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  svg.append(element);
  return element;
}
