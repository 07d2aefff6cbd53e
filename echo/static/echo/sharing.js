/**
 * One connection for all of a browser's tabs: the tab that holds the lock connects, and
 * passes on what it hears; when it goes, the lock goes to the next.
 *
 * Where a browser has no Web Locks (a page that came over plain http), each tab leads
 * itself.
 */

export const CAN_SHARE =
  "locks" in globalThis.navigator && "BroadcastChannel" in globalThis;

export class Sharing {
  /**
   * `on` is `{lead(), heard(message), deposed()}`: this tab is to connect, another tab
   * says something, another tab took the lead from this one.
   */
  constructor(name, on) {
    this.name = name;
    this.on = on;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = ({ data }) => on.heard(data);
    this.leaving = new AbortController();
    this.apply({ signal: this.leaving.signal });
  }

  /** Asks for the lock, and keeps it until this tab leaves. */
  apply(options) {
    const held = (lock) => (lock ? this.lead() : undefined);
    navigator.locks.request(this.name, options, held).catch((error) => {
      if (error.name !== "AbortError") throw error;
      if (!this.isOver && this.leads) this.depose();
    });
  }

  lead() {
    this.steals = false;
    if (this.isOver) return undefined;
    this.leads = true;
    this.on.lead();
    return new Promise((resolve) => {
      this.release = resolve;
    });
  }

  depose() {
    this.leads = false;
    this.on.deposed();
    this.apply({ signal: this.leaving.signal });
  }

  /** Takes the lead from another tab; once, or this tab would take it from itself. */
  steal() {
    if (this.steals || this.leads) return;
    this.steals = true;
    this.leaving.abort();
    this.leaving = new AbortController();
    this.apply({ steal: true });
  }

  say(message) {
    if (!this.isOver) this.channel.postMessage(message);
  }

  leave() {
    this.isOver = true;
    this.channel.close();
    this.leaving.abort();
    this.release?.();
  }
}
