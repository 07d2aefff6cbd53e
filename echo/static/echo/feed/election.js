/**
 * Elects one of a browser's tabs as leader, and carries messages between the tabs.
 *
 * The leader holds a Web Lock; when its tab closes, the browser gives the lock to the
 * next. Where a browser has no Web Locks (a page that was loaded over plain http), no
 * tab shares with another.
 */

export const CAN_SHARE =
  "locks" in globalThis.navigator && "BroadcastChannel" in globalThis;

export class Election {
  /**
   * `on` is `{elected(), message(data), deposed()}`: this tab is the leader now, another
   * tab has sent a message, another tab has stolen the lock from this one.
   */
  constructor(name, on) {
    this.name = name; // of the lock and of the channel
    this.on = on;
    this.isLeader = false; // this tab holds the lock
    this.isStealing = false; // a request to steal the lock is under way
    this.hasLeft = false; // this tab takes no further part
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = ({ data }) => on.message(data);
    this.requestInTurn();
  }

  /** Wait for the lock behind the tabs that asked before. */
  requestInTurn() {
    this.pending = new AbortController(); // aborts this request
    this.request({ signal: this.pending.signal });
  }

  /** Request the lock; once granted it is held until this tab leaves. */
  request(options) {
    const hold = (lock) => (lock ? this.hold() : undefined);
    navigator.locks.request(this.name, options, hold).catch((error) => {
      if (error.name !== "AbortError") throw error;
      if (!this.hasLeft && this.isLeader) this.handleStolen();
    });
  }

  hold() {
    this.isStealing = false;
    if (this.hasLeft) return undefined;
    this.isLeader = true;
    this.on.elected();
    return new Promise((resolve) => {
      this.releaseLock = resolve;
    });
  }

  handleStolen() {
    this.isLeader = false;
    this.on.deposed();
    this.requestInTurn();
  }

  /** Take the lock from another tab; once, or this tab would steal it from itself. */
  steal() {
    if (this.isStealing || this.isLeader) return;
    this.isStealing = true;
    this.pending.abort();
    this.request({ steal: true });
  }

  /** Send a message to the other tabs. */
  post(message) {
    if (!this.hasLeft) this.channel.postMessage(message);
  }

  leave() {
    this.hasLeft = true;
    this.channel.close();
    this.pending.abort();
    this.releaseLock?.();
  }
}
