/** The experiment "HTTP against WebSocket": what updates cost in three ways. */

import { connectExperiment } from "./experimentform.js";

const WAYS = ["new_connections", "keep_alive", "websocket"];
// A network in which the round trips can be felt: loopback takes no time.
const ROUND_TRIP_MS = 50;

/** Connect the section's controls; `text` gives the page's texts. */
export function connectUpdates(section, text) {
  const format = new Intl.NumberFormat(document.documentElement.lang);
  connectExperiment(section, "updates", text, ({ count, size, costs }) => {
    const most = Math.max(...WAYS.map((way) => total(costs[way])));
    for (const way of WAYS) showCost(section, way, costs, { count, most, format });
    section.querySelector(".verdict").textContent = text("updates_verdict", {
      count,
      size,
      bytes: format.format(total(costs.websocket)),
      keep_alive: ratio(costs.keep_alive, costs.websocket),
      new_connections: ratio(costs.new_connections, costs.websocket),
    });
  });
}

function showCost(section, way, costs, { count, most, format }) {
  const row = section.querySelector(`[data-way="${way}"]`);
  const cost = costs[way];
  const shown = {
    connections: cost.connections,
    round_trips: cost.round_trips,
    sent: format.format(cost.sent_bytes),
    received: format.format(cost.received_bytes),
    each: format.format(Math.round(total(cost) / count)),
    ratio: `${ratio(cost, costs.websocket)} ×`,
    time: `${format.format(Math.round(cost.milliseconds))} ms`,
    far: `${format.format(cost.round_trips * ROUND_TRIP_MS)} ms`,
  };
  for (const cell of row.querySelectorAll("[data-figure]")) {
    cell.textContent = shown[cell.dataset.figure];
  }
  row.querySelector(".fill").style.width = `${(100 * total(cost)) / most}%`;
}

function total(cost) {
  return cost.sent_bytes + cost.received_bytes;
}

/** Return how many times the bytes of another a cost has, with one decimal below ten. */
function ratio(cost, other) {
  const times = total(cost) / total(other);
  return times < 10 ? times.toFixed(1) : Math.round(times);
}
