/**
 * One WebSocket at a time, and what comes after it: the state machine of the console.
 *
 * States: closed, connecting, open, closing, refused (the handshake failed), waiting
 * (for the next attempt). Every way out of a state is one method here. Knows no DOM.
 */

import { fullJitter } from "../backoff.js";

// An open connection that lasted this long ends a row of failures. A shorter one does
// not: a server that closes at once would be asked again every few milliseconds.
const STABLE_MS = 5000;
// Sending stops while this much is waiting in the browser, so that a tab stays alive.
export const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

export class Connection {
  /**
   * `events` are the functions told of what happens: state(state, details),
   * opened(protocol), received(message), failed(), closed({code, reason, clean,
   * refused}).
   */
  constructor(events) {
    this.events = events;
    this.state = "closed";
    this.reconnects = false;
    this.attempt = 0;
  }

  /** Opens a connection; nothing while there is one. */
  open(address, protocols) {
    if (this.isBusy()) return;
    clearTimeout(this.timer);
    this.target = { address, protocols };
    this.isOpened = this.isLeaving = false;
    this.socket = new WebSocket(address, protocols);
    this.socket.binaryType = "arraybuffer";
    this.listen(this.socket);
    this.become("connecting");
  }

  /** True while there is a socket that has not ended. */
  isBusy() {
    return ["connecting", "open", "closing"].includes(this.state);
  }

  listen(socket) {
    socket.onopen = () => this.opened();
    socket.onmessage = ({ data }) =>
      this.events.received(typeof data === "string" ? data : new Uint8Array(data));
    socket.onerror = () => {
      if (this.isOpened) this.events.failed();
    };
    socket.onclose = (event) => this.closed(event);
  }

  opened() {
    this.isOpened = true;
    this.openedAt = performance.now();
    this.become("open", { protocol: this.socket.protocol });
    this.events.opened(this.socket.protocol);
  }

  closed({ code, reason, wasClean: clean }) {
    const refused = !this.isOpened && !this.isLeaving;
    if (this.isOpened && performance.now() - this.openedAt >= STABLE_MS)
      this.attempt = 0;
    this.socket = null;
    this.become(refused ? "refused" : "closed");
    this.events.closed({ code, reason, clean, refused });
    if (this.reconnects && !this.isLeaving) this.wait();
  }

  wait() {
    const milliseconds = fullJitter(this.attempt);
    this.attempt += 1;
    const { address, protocols } = this.target;
    this.timer = setTimeout(() => this.open(address, protocols), milliseconds);
    this.become("waiting", { milliseconds, attempt: this.attempt });
  }

  /** Gives up waiting for the next attempt; nothing in other states. */
  cancel() {
    if (this.state !== "waiting") return;
    clearTimeout(this.timer);
    this.attempt = 0;
    this.become("closed", { cancelled: true });
  }

  /** Ends the connection with this code and reason; nothing while closed. */
  close(code, reason) {
    this.cancel();
    if (this.state !== "open" && this.state !== "connecting") return;
    this.isLeaving = true;
    this.attempt = 0;
    this.socket.close(code, reason);
    this.become("closing");
  }

  /**
   * Sends a message; false when there is no open connection, or too much is waiting.
   */
  send(message) {
    if (this.state !== "open" || this.socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      return false;
    }
    this.socket.send(message);
    return true;
  }

  become(state, details = {}) {
    this.state = state;
    this.events.state(state, details);
  }
}
