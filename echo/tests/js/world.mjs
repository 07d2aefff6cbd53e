/** A browser's world as far as feed.js looks at it, with a clock that the test turns. */

import { mock } from "node:test";

export const dialled = [];

/** One attempt of one transport, which the test answers. */
class Line {
  constructor(kind, url) {
    this.kind = kind;
    this.since = new URL(url).searchParams.get("since");
    this.listeners = {};
    dialled.push(this);
  }

  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }

  removeEventListener() {}

  close() {
    this.isClosed = true;
  }

  say(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  hello(last_event_id) {
    this.say({ type: "hello", last_event_id });
  }
}

class Socket extends Line {
  constructor(url) {
    super("websocket", url);
  }

  end(code = 1006, reason = "") {
    this.onclose?.({ code, reason });
  }
}

class Source extends Line {
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

/** Puts the world in place; to be called before feed.js is imported. */
export function build() {
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
          answer: (json, ok = true) => resolve({ ok, json: () => json }),
        });
        signal?.addEventListener("abort", () => reject(new Error("aborted")));
      }),
  });
  Object.defineProperty(globalThis, "navigator", { value: { onLine: true } });
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(performance, "now", () => now);
  mock.method(Math, "random", () => 0.5);
}

/** Lets so much time pass. */
export function advance(milliseconds) {
  now += milliseconds;
  mock.timers.tick(milliseconds);
}

/** The attempts since this was last asked. */
export function attempts() {
  return dialled.splice(0);
}
