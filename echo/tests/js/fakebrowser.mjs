/** The parts of a browser that feed.js uses, with a clock that the test advances. */

import { mock } from "node:test";

const opened = [];

/** One connection of one transport, whose server is the test. */
class FakeConnection {
  constructor(kind, url) {
    this.kind = kind;
    this.since = new URL(url).searchParams.get("since");
    this.listeners = {};
    opened.push(this);
  }

  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }

  removeEventListener() {}

  close() {
    this.isClosed = true;
  }

  receive(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  hello(last_event_id) {
    this.receive({ type: "hello", last_event_id });
  }
}

class Socket extends FakeConnection {
  constructor(url) {
    super("websocket", url);
  }

  end(code = 1006, reason = "") {
    this.onclose?.({ code, reason });
  }
}

class Source extends FakeConnection {
  constructor(url) {
    super("sse", url);
  }

  end() {
    this.onerror?.({});
  }
}

class Page extends EventTarget {
  hidden = false;
}

let now = 0;
export const page = new Page();
export const polls = [];

/** Install the fakes; call it before importing feed.js. */
export function install() {
  const tab = new EventTarget();
  Object.assign(globalThis, {
    location: { href: "http://here/live/" },
    document: page,
    WebSocket: Socket,
    EventSource: Source,
    addEventListener: tab.addEventListener.bind(tab),
    dispatchEvent: tab.dispatchEvent.bind(tab),
    fetch: (url, { signal } = {}) =>
      new Promise((resolve, reject) => {
        polls.push({
          url,
          respond: (json, ok = true) => resolve({ ok, json: () => json }),
        });
        signal?.addEventListener("abort", () => reject(new Error("aborted")));
      }),
  });
  Object.defineProperty(globalThis, "navigator", { value: { onLine: true } });
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(performance, "now", () => now);
  mock.method(Math, "random", () => 0.5);
}

/** Advance the clock and run the timers that are due. */
export function advance(milliseconds) {
  now += milliseconds;
  mock.timers.tick(milliseconds);
}

/** Return the connections opened since the last call. */
export function attempts() {
  return opened.splice(0);
}
