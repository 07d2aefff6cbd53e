/** Fills in where the current page's own connection lies: its scheme and its port. */

const PORTS = { "http:": "80", "https:": "443" };

/** Mark what this page uses, and name its WebSocket's address. */
export function connectLayers(section, text) {
  const isSecure = location.protocol === "https:";
  const scheme = isSecure ? "wss" : "ws";
  const port = location.port || PORTS[location.protocol];
  section.dataset.scheme = scheme;
  section.querySelector("#layers-own").textContent = text(
    isSecure ? "layers_wss" : "layers_ws",
    { address: `${scheme}://${location.host}/echo`, port },
  );
}
