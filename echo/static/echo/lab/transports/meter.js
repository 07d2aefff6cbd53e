/**
 * Counts the bytes of one lane: a network whose `fetch`, `EventSource` and `WebSocket` are
 * the browser's own, watched from outside. And cuts it, as a network does that is gone.
 *
 * What a script cannot see is computed from the standards, or told by the server:
 *
 * - request heads: the server has told the size of each kind's, for a known path;
 * - response heads and the framing of chunks and frames: computed;
 * - bodies of responses: measured by the browser, see `addBody`.
 */

import {
  chunkFramingBytes,
  closePayloadBytes,
  frameBytes,
  responseHeadBytes,
  streamMessageBytes,
  utf8Bytes,
} from "./sizes.js";

// What an EventSource does not show: its first message is after this line.
const RETRY_LINE_BYTES = "retry: 1234\n\n".length;
const NAMED = ["hello", "heartbeat", "reset", "bye"];
// Both servers ping a WebSocket that is silent for so long, with four bytes of payload.
const PING_SECONDS = 20;
const PING_PAYLOAD_BYTES = 4;

export class Meter {
  /**
   * `heads` has the sizes of request heads without their paths, `{fetch, source, socket}`,
   * and of response heads, `{stream, switching}`.
   */
  constructor(heads) {
    this.heads = heads;
    this.requests = 0;
    this.responses = 0; // whole ones, of fetch
    this.bodies = 0; // of these, measured by the browser
    this.contentLength = 0; // the sum of their Content-Length
    this.sent = { told: 0, computed: 0 };
    this.received = { measured: 0, computed: 0 };
    this.cutting = new AbortController(); // aborted: the network is cut
    this.open = new Set(); // of functions that cut what is open
    this.sockets = 0; // opened, and not closed on both sides
    const meter = this;
    this.network = {
      fetch: (url, options) => meter.fetch(url, options),
      EventSource: function Source(url) {
        return meter.isCut ? new Unreachable() : meter.openSource(url);
      },
      WebSocket: function Socket(url) {
        return meter.isCut ? new Unreachable() : meter.openSocket(url);
      },
    };
  }

  get isCut() {
    return this.cutting.signal.aborted;
  }

  /** True once the browser has reported the end of all WebSockets. */
  get isClosed() {
    return this.sockets === 0;
  }

  get bytesSent() {
    return this.sent.told + this.sent.computed;
  }

  get bytesReceived() {
    return this.received.measured + this.received.computed;
  }

  /** End all connections, and let no other be opened. */
  cut() {
    this.cutting.abort();
    for (const cutOne of [...this.open]) cutOne();
  }

  /** Let connections be opened again. */
  restore() {
    this.cutting = new AbortController();
  }

  /** Add a body as Resource Timing shows it. */
  addBody(bytes) {
    this.received.measured += bytes;
    this.bodies += 1;
  }

  /** Take Content-Length where the browser has measured less than all bodies. */
  completeBodies() {
    if (this.bodies < this.responses) this.received.measured = this.contentLength;
  }

  countRequest(headBytes, url) {
    const { pathname, search } = new URL(url, location.href);
    this.requests += 1;
    this.sent.told += headBytes + pathname.length + search.length;
  }

  async fetch(url, options) {
    const signals = [this.cutting.signal, options.signal].filter(Boolean);
    const signal = AbortSignal.any(signals);
    signal.throwIfAborted();
    this.countRequest(this.heads.fetch, url);
    const response = await fetch(url, { ...options, signal });
    this.responses += 1;
    this.contentLength += Number(response.headers.get("content-length") ?? 0);
    this.received.computed += responseHeadBytes(response);
    return response;
  }

  openSource(url) {
    const source = new EventSource(url);
    this.countRequest(this.heads.source, url);
    source.addEventListener("open", () => {
      this.received.computed += this.heads.stream;
    });
    const chunk = new Chunk((bytes) => {
      this.received.computed += bytes;
    });
    const count = ({ type, lastEventId: id, data }) => {
      const name = type === "message" ? "" : type;
      chunk.add(streamMessageBytes({ name, id, data }));
      if (name === "hello") chunk.add(RETRY_LINE_BYTES);
    };
    for (const name of ["message", ...NAMED]) source.addEventListener(name, count);
    this.watch(source, () => source.dispatchEvent(new Event("error")));
    return source;
  }

  openSocket(url) {
    const socket = new WebSocket(url);
    this.countRequest(this.heads.socket, url);
    let openedAt = null;
    this.sockets += 1;
    socket.addEventListener("open", () => {
      openedAt = performance.now();
      this.received.computed += this.heads.switching;
    });
    socket.addEventListener("message", ({ data }) => {
      this.received.computed += frameBytes(utf8Bytes(data));
    });
    socket.addEventListener("close", ({ code, reason, wasClean, isTrusted }) => {
      if (!isTrusted) return; // that of a cut
      this.sockets -= 1;
      if (openedAt === null) return;
      this.countPings((performance.now() - openedAt) / 1000);
      if (wasClean) this.countClosing(closePayloadBytes(code, reason));
    });
    this.watch(socket, () =>
      socket.dispatchEvent(new CloseEvent("close", { code: 1006 })),
    );
    return socket;
  }

  /** Count the pings that a connection has had: no script sees them. */
  countPings(seconds) {
    const pings = Math.floor(seconds / PING_SECONDS);
    this.received.computed += pings * frameBytes(PING_PAYLOAD_BYTES);
    this.sent.computed += pings * frameBytes(PING_PAYLOAD_BYTES, { isMasked: true });
  }

  /** Count both close frames; the server answers with this side's code. */
  countClosing(payloadBytes) {
    this.received.computed += frameBytes(payloadBytes);
    this.sent.computed += frameBytes(payloadBytes, { isMasked: true });
  }

  /** On a cut, close the connection and report the failure as the browser would. */
  watch(connection, fail) {
    const cutOne = () => {
      this.open.delete(cutOne);
      if (connection.readyState >= connection.CLOSING) return;
      connection.close();
      fail();
    };
    this.open.add(cutOne);
  }
}

/**
 * The messages that came in one chunk of a body: those that the browser dispatches in one
 * task. It shows no chunks; where it has read two at once they are taken for one, which is
 * off by some six bytes.
 */
class Chunk {
  constructor(count) {
    this.count = count; // called with the bytes of a whole chunk, framing included
    this.bytes = 0; // of the current one
    this.channel = new MessageChannel();
    this.channel.port1.onmessage = () => this.end();
  }

  add(bytes) {
    if (this.bytes === 0) this.channel.port2.postMessage(null);
    this.bytes += bytes;
  }

  end() {
    this.count(this.bytes + chunkFramingBytes(this.bytes));
    this.bytes = 0;
  }
}

/** A connection that cannot be opened; it fails as both kinds of connection do. */
class Unreachable extends EventTarget {
  onerror = null;
  onclose = null;

  constructor() {
    super();
    this.timer = setTimeout(() => {
      this.onerror?.(new Event("error"));
      this.onclose?.(new CloseEvent("close", { code: 1006 }));
    });
  }

  close() {
    clearTimeout(this.timer);
  }
}
