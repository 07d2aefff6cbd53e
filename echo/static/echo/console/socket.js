/**
 * The console's one WebSocket at a time, with reconnecting, as a state machine.
 *
 * States: closed, connecting, open, closing, refused (the handshake failed), waiting
 * (for the next attempt). Every transition is one method here. Uses no DOM.
 */

import { fullJitter } from "../feed/backoff.js";

// An open connection that lasted this long resets the backoff. A shorter one does not:
// a server that closes at once would be asked again every few milliseconds.
const STABLE_MS = 5000;
// Sending stops while the browser has more than this to send, or the tab would freeze.
export const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

export class EchoSocket {
  /**
   * `on` is `{state(state, details), opened(subprotocol), received(message), failed(),
   * closed({code, reason, clean, refused})}`.
   */
  constructor(on) {
    this.on = on;
    this.state = "closed";
    this.socket = null; // the WebSocket that has not closed
    this.target = null; // `{address, protocols}` of the latest connection
    this.isOpened = false; // the latest connection's handshake was accepted
    this.isClosing = false; // the page has closed the latest connection
    this.reconnects = false; // after a close by the other side
    this.attempt = 0; // of reconnecting, since the last stable connection
    this.timer = null; // opens the next connection
  }

  /** Open a connection; no-op while there is one. */
  open(address, protocols) {
    if (this.isBusy()) return;
    clearTimeout(this.timer);
    this.target = { address, protocols };
    this.isOpened = this.isClosing = false;
    this.socket = new WebSocket(address, protocols);
    this.socket.binaryType = "arraybuffer";
    this.listen(this.socket);
    this.setState("connecting");
  }

  /** Return true while there is a socket that has not closed. */
  isBusy() {
    return ["connecting", "open", "closing"].includes(this.state);
  }

  listen(socket) {
    socket.onopen = () => this.handleOpen();
    socket.onmessage = ({ data }) =>
      this.on.received(typeof data === "string" ? data : new Uint8Array(data));
    socket.onerror = () => {
      if (this.isOpened) this.on.failed();
    };
    socket.onclose = (event) => this.handleClose(event);
  }

  handleOpen() {
    this.isOpened = true;
    this.openedAt = performance.now();
    const { protocol } = this.socket;
    this.setState("open", { protocol });
    this.on.opened(protocol);
  }

  handleClose({ code, reason, wasClean: clean }) {
    const refused = !this.isOpened && !this.isClosing;
    const isStable = this.isOpened && performance.now() - this.openedAt >= STABLE_MS;
    if (isStable) this.attempt = 0;
    this.socket = null;
    this.setState(refused ? "refused" : "closed");
    this.on.closed({ code, reason, clean, refused });
    if (this.reconnects && !this.isClosing) this.reconnectLater();
  }

  reconnectLater() {
    const milliseconds = fullJitter(this.attempt);
    this.attempt += 1;
    const { address, protocols } = this.target;
    this.timer = setTimeout(() => this.open(address, protocols), milliseconds);
    this.setState("waiting", { milliseconds, attempt: this.attempt });
  }

  /** Give up reconnecting; no-op unless waiting. */
  cancel() {
    if (this.state !== "waiting") return;
    clearTimeout(this.timer);
    this.attempt = 0;
    this.setState("closed", { cancelled: true });
  }

  /** Close the connection with this code and reason; no-op while closed. */
  close(code, reason) {
    this.cancel();
    if (this.state !== "open" && this.state !== "connecting") return;
    this.isClosing = true;
    this.attempt = 0;
    this.socket.close(code, reason);
    this.setState("closing");
  }

  /** Send a message; return false if not open, or if too much is buffered. */
  send(message) {
    if (this.state !== "open" || this.socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      return false;
    }
    this.socket.send(message);
    return true;
  }

  setState(state, details = {}) {
    this.state = state;
    this.on.state(state, details);
  }
}
